"""Fetching a published file, and making sure that it is the published one."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.request
from pathlib import Path

from maskexp.data.disk import bytes_bar, require_space
from maskexp.data.downloads.sources import Download
from maskexp.data.errors import DataError
from maskexp.files import written_whole

__all__ = ["fetch", "md5_of", "offline"]

TIMEOUT = 60
"""Seconds without a byte after which a download is given up."""
CHUNK = 1 << 20


def offline() -> bool:
    """Return whether ``MASKEXP_OFFLINE`` forbids downloads."""
    return os.environ.get("MASKEXP_OFFLINE", "0") not in ("", "0")


def fetch(download: Download, folder: Path) -> Path:
    """Return a file of ``folder``, downloaded if it is not there, with its checksum verified.

    A download appears whole and verified, or not at all.

    Raises:
        DataError: if it cannot be downloaded, or is not the published file.
    """
    target = folder / download.file
    by_hand = f"get it yourself and put it at {target}, or name it with --raw"
    if target.exists():
        _verify(target, md5_of(target), download)
        return target
    if offline():
        raise DataError(f"MASKEXP_OFFLINE is set, so that {download.url} is not downloaded; {by_hand}")
    require_space(folder, download.size, f"downloading {download.file}")
    try:
        with written_whole(target) as partial:
            _receive(download, partial)
            _verify(partial, md5_of(partial), download)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        raise DataError(f"{download.url} cannot be downloaded ({error}); try again, or {by_hand}") from error
    return target


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, which is what the publishers give."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receive(download: Download, partial: Path) -> None:
    """Write what the server sends, with a progress bar."""
    if not download.url.startswith(("http://", "https://")):
        raise DataError(f"{download.url} is no address of the web")
    response = urllib.request.urlopen(download.url, timeout=TIMEOUT)  # noqa: S310  (checked above)
    with response, partial.open("wb") as file, bytes_bar() as bar:
        if response.headers.get_content_type() == "text/html":
            raise OSError("the server sent a page instead of the file, as Google Drive does when its quota is used up")
        length = int(response.headers.get("Content-Length") or download.size)
        require_space(partial.parent, length, f"downloading {download.file}")
        with bar.wrap_file(response, total=length, description=download.file) as stream:
            shutil.copyfileobj(stream, file, CHUNK)


def _verify(path: Path, md5: str, download: Download) -> None:
    if md5 != download.md5:
        raise DataError(
            f"{path.with_name(download.file)} is not the published {download.file}: its md5 is {md5} instead of "
            f"{download.md5}; it is damaged or another version, delete it and get it again"
        )
