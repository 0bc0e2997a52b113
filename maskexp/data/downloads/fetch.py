"""Fetching a published file, and making sure that it is the published one."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from maskexp.data.disk import bytes_bar, require_space
from maskexp.data.errors import DataError
from maskexp.data.info import Download
from maskexp.files import DiskFullError, names_full_disk

__all__ = ["fetch", "md5_of", "offline", "verify"]

TIMEOUT = 60
"""Seconds without a byte after which a download is given up."""
CHUNK = 1 << 20


def offline() -> bool:
    """Return whether ``MASKEXP_OFFLINE`` forbids downloads."""
    return os.environ.get("MASKEXP_OFFLINE", "0") not in ("", "0")


def fetch(download: Download, folder: Path) -> Path:
    """Return a file of ``folder``, downloaded if it is not there, with its checksum verified.

    A download appears whole and verified, or not at all. What came before an interruption is kept beside it, and the
    next call asks the server for the rest only.

    Raises:
        DataError: if it cannot be downloaded, or is not the published file.
    """
    target = folder / download.file
    by_hand = f"get it yourself and put it at {target}, or name it with --raw"
    if target.exists():
        verify(target, download)
        return target
    if offline():
        raise DataError(f"MASKEXP_OFFLINE is set, so that {download.url} is not downloaded; {by_hand}")
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    try:
        _receive(download, partial)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        if names_full_disk(error):
            raise DiskFullError(target) from error
        rest = f" ({_size(partial)} bytes are kept)" if _size(partial) else ""
        raise DataError(f"{download.url} cannot be downloaded ({error}); try again{rest}, or {by_hand}") from error
    try:
        verify(partial, download, download.url)
    except DataError:
        partial.unlink()
        raise
    partial.replace(target)
    return target


def verify(path: Path, download: Download, named: str = "") -> None:
    """Make sure that a file is the published one.

    Args:
        path: the file.
        download: what it has to be.
        named: what the message calls it; its path if not given.

    Raises:
        DataError: if its checksum is another one.
    """
    md5 = md5_of(path)
    if md5 != download.md5:
        raise DataError(
            f"{named or path} is not the published {download.file}: its md5 is {md5} instead of {download.md5}; it is "
            "damaged or another version, delete it and get it again"
        )


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, which is what the publishers give."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receive(download: Download, partial: Path) -> None:
    """Write what the server sends, with a progress bar; go on where an earlier call was interrupted."""
    if not download.url.startswith(("http://", "https://")):
        raise DataError(f"{download.url} is no address of the web")
    begin = _size(partial)
    headers = {"Range": f"bytes={begin}-"} if begin else {}
    request = urllib.request.Request(download.url, headers=headers)  # noqa: S310  (checked above)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if begin and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is left to be sent; the checksum tells whether all is there
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise OSError("the server sent a page instead of the file, as Google Drive does when its quota is used up")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the server sends everything, asked or not
            begin = 0
        length = int(response.headers.get("Content-Length") or max(download.size - begin, 0))
        require_space(partial.parent, length, f"downloading {download.file}")
        with partial.open("ab" if begin else "wb") as file, bytes_bar() as bar:
            task = bar.add_task(download.file, total=begin + length or None, completed=begin)
            while block := response.read(CHUNK):
                file.write(block)
                bar.advance(task, len(block))
    if _size(partial) < begin + length:
        raise OSError(f"the connection broke after {_size(partial)} of {begin + length} bytes")


def _size(path: Path) -> int:
    """Return the bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
