"""Unpacking an archive that may be hostile: nothing is ever written outside its folder, and nothing half."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from maskexp.data.disk import bytes_bar, require_space
from maskexp.data.errors import DataError

__all__ = ["extract", "is_archive"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
GROWTH = 2
"""Room to ask for where an archive does not say how much it holds: images hardly compress."""


def is_archive(path: Path) -> bool:
    """Return whether the name is one of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def extract(archive: Path, root: Path, last: str = "") -> None:
    """Unpack a tar or zip into ``root``.

    Everything goes to a temporary folder first, and is moved only when the whole archive was read. What is in ``root``
    already stays: an entry of the same name is an error. One process at a time may unpack into a root, see
    :func:`~maskexp.data.disk.alone`.

    Args:
        archive: the file.
        root: folder.
        last: top-level entry that is moved last, so that it stands for all.

    Raises:
        DataError: if the archive is damaged, if a member would be written elsewhere or is a device, or if the disk is
            too small; nothing is left behind then.
    """
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{archive.name}.part"
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, partial)
        else:
            _extract_tar(archive, partial)
        entries = sorted(partial.iterdir(), key=lambda path: (path.name == last, path.name))
        for entry in entries:
            if (root / entry.name).is_dir():
                raise DataError(f"{root / entry.name} is there already; delete it, or unpack {archive} elsewhere")
        for entry in entries:
            entry.chmod(0o755 if entry.is_dir() else 0o644)
            entry.replace(root / entry.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _extract_tar(archive: Path, folder: Path) -> None:
    """Unpack a tar of any compression; the interpreter's own filter refuses links out, devices and the like."""
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"this Python cannot unpack {archive} safely; use 3.11.4 or later, or unpack it yourself")
    require_space(folder, GROWTH * archive.stat().st_size, f"unpacking {archive}")
    with _readable(archive), archive.open("rb") as raw, bytes_bar() as bar:
        task = bar.add_task(f"unpacking {archive.name}", total=archive.stat().st_size)
        with tarfile.open(fileobj=raw, mode="r:*") as tar:
            for member in tar:
                bar.update(task, completed=raw.tell())
                _refuse_outside(archive, member.name)
                try:
                    tar.extract(member, folder, filter="data")
                except tarfile.FilterError as error:
                    raise _unsafe(archive, member.name, str(error)) from error
            if tar.fileobj is raw and not _ends_with_zeros(raw):  # tarfile takes a plain tar that was cut for whole
                raise tarfile.ReadError("its end is missing")


def _ends_with_zeros(file: BinaryIO) -> bool:
    file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
    return not any(file.read())


def _extract_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip, of plain files and folders only."""
    with _readable(archive), zipfile.ZipFile(archive) as content, bytes_bar() as bar:
        members = content.infolist()
        total = sum(member.file_size for member in members)
        require_space(folder, total, f"unpacking {archive}")
        task = bar.add_task(f"unpacking {archive.name}", total=total)
        for member in members:
            _refuse_outside(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, member.filename, "it is a link or a device")
            content.extract(member, folder)
            bar.advance(task, member.file_size)


def _refuse_outside(archive: Path, name: str) -> None:
    """Refuse a member whose name leads out of the folder, on any system."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        raise _unsafe(archive, name, "its path is absolute")
    if ".." in windows.parts:
        raise _unsafe(archive, name, "its path leads upwards")


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    return DataError(f"{archive} is not unpacked: its member {name!r} is unsafe ({why}); get the official archive")


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn what is wrong with an archive into a sentence."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        if isinstance(error, tarfile.FilterError):
            raise
        why = str(error).partition("\n")[0].rstrip(":")
        raise DataError(f"{archive} is damaged or no archive ({why}); get it again") from error
