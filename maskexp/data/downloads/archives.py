"""Unpacking an archive that may be hostile: nothing is ever written outside its folder, and nothing half."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO, cast

from maskexp.data.disk import bytes_bar, readable, require_space
from maskexp.data.errors import DataError
from maskexp.files import names_full_disk

__all__ = ["extract", "is_archive"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
GROWTH, SPARE = 2, 200_000_000
"""How many times its own size, and how many bytes more, an archive may hold: images hardly compress (ours)."""
LARGEST_READ = 1 << 24
"""Bytes that are read at once; only a header that is made to fill the memory asks for more."""
CHUNK = 1 << 20

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError),
    *(ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError),
)
"""What the readers of the standard library raise on a damaged archive; an OSError without a number is one, too."""


def is_archive(path: Path) -> bool:
    """Return whether the name is one of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def extract(archive: Path, root: Path, last: str = "", most: int | None = None) -> None:
    """Unpack a tar or zip into ``root``.

    Only regular files and folders are unpacked, into a fresh folder whose content is moved when the whole archive was
    read. What is in ``root`` already stays: an entry of the same name is an error. One process at a time may unpack
    into a root, see :func:`~maskexp.data.disk.alone`.

    Args:
        archive: the file.
        root: folder.
        last: top-level entry that is moved last, so that it stands for all.
        most: bytes that the archive may hold unpacked; twice its own size and 200 MB if not given.

    Raises:
        DataError: if the archive is damaged or encrypted, if it holds a link, a device, a path that leads elsewhere or
            one path twice, if it holds more than ``most`` bytes, or if the disk is too small; nothing is left then.
    """
    size = archive.stat().st_size
    limit = GROWTH * size + SPARE if most is None else most
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    partial = root / f".{archive.name}.part"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # of a process that was killed
        partial.mkdir()
        with _explained(archive, root):
            unpack = _extract_zip if zipfile.is_zipfile(archive) else _extract_tar
            unpack(archive, Unpacked(archive, partial, limit))
        _require_plain(archive, partial)
        _move(archive, partial, root, last)
    finally:
        _remove(partial)
        for folder in made:  # those that are empty: nothing was unpacked
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


class Unpacked:
    """The fresh folder that an archive is unpacked into, and what is in it already.

    Args:
        archive: for messages.
        folder: empty.
        most: bytes that may be written.
    """

    def __init__(self, archive: Path, folder: Path, most: int) -> None:
        self.archive = archive
        self.folder = folder
        self.most = most
        self._kinds: dict[PurePosixPath, str] = {}
        self._bytes = 0

    def add_folder(self, name: str) -> None:
        """Make a folder; one that is there is kept."""
        path = self._checked(name)
        self._claim(path, "folder", name)
        (self.folder / path).mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, size: int, content: IO[bytes]) -> None:
        """Write a file of ``size`` bytes."""
        path = self._checked(name)
        if not path.parts:
            raise self.unsafe(name, "a file needs a name")
        if path in self._kinds:
            raise self.unsafe(name, f"the path is in it twice, before as a {self._kinds[path]}")
        self._claim(path.parent, "folder", name)
        self._kinds[path] = "file"
        self.count(size)
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        with (self.folder / path).open("xb") as file:
            shutil.copyfileobj(content, file, CHUNK)

    def count(self, size: int) -> None:
        """Refuse more bytes than the archive may hold."""
        self._bytes += max(size, 0)
        if self._bytes > self.most:
            raise _too_large(self.archive, self.most)

    def unsafe(self, name: str, why: str) -> DataError:
        """Return the error for a member that is not unpacked."""
        return DataError(
            f"{self.archive} is not unpacked: its member {name!r} is unsafe ({why}); get the official archive"
        )

    def _claim(self, path: PurePosixPath, kind: str, name: str) -> None:
        """Note that a path and all above it are folders."""
        for folder in (path, *path.parents):
            if self._kinds.setdefault(folder, kind) != kind:
                raise self.unsafe(name, f"{str(folder)!r} is a {self._kinds[folder]} in it as well")

    def _checked(self, name: str) -> PurePosixPath:
        """Return the path of a member, which leads out of the folder on no system."""
        windows = PureWindowsPath(name)
        if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
            raise self.unsafe(name, "its path is absolute")
        if ".." in windows.parts:
            raise self.unsafe(name, "its path leads upwards")
        if "\0" in name:
            raise self.unsafe(name, "its path holds a zero byte")
        return PurePosixPath(name)


class _Bounded(io.RawIOBase):
    """A decompressed stream of which no more than ``most`` bytes are read, and never many at once.

    Python's tarfile reads the headers of a tar as a whole, however long they claim to be.
    """

    def __init__(self, archive: Path, stream: IO[bytes], most: int) -> None:
        self.archive, self.stream, self.most = archive, stream, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._require(offset)
        return self.stream.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > LARGEST_READ:
            raise tarfile.ReadError("a header is longer than any header")
        self._require(self.stream.tell() + size - LARGEST_READ)
        return self.stream.read(size)

    def _require(self, position: int) -> None:
        if position > self.most:
            raise _too_large(self.archive, self.most)


def _extract_tar(archive: Path, unpacked: Unpacked) -> None:
    """Unpack a tar of any compression, regular files and folders only."""
    size = archive.stat().st_size
    require_space(unpacked.folder, GROWTH * size, f"unpacking {archive}")
    with ExitStack() as stack:
        raw = stack.enter_context(archive.open("rb"))
        content = stack.enter_context(_decompressed(raw))
        # headers and padding come on top of what the members hold
        bounded = _Bounded(archive, content, 2 * unpacked.most + SPARE)
        tar = stack.enter_context(tarfile.open(fileobj=bounded, mode="r:"))
        bar = stack.enter_context(bytes_bar())
        task = bar.add_task(f"unpacking {archive.name}", total=size)
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # a million of them would fill the memory
            bar.update(task, completed=raw.tell())
            if member.isdir():
                unpacked.add_folder(member.name)
            elif member.isreg() and (file := tar.extractfile(member)) is not None:
                unpacked.add_file(member.name, member.size, file)
            else:
                raise unpacked.unsafe(member.name, "it is a link" if member.islnk() or member.issym() else "a device")
        if content is raw:
            if not _ends_with_zeros(raw):  # tarfile takes a plain tar that was cut for whole
                raise tarfile.ReadError("its end is missing")
        else:
            while bounded.read(CHUNK):  # the checksum stands at the end
                pass


def _decompressed(raw: BinaryIO) -> IO[bytes]:
    """Return what a compressed file holds, or the file itself."""
    begin = raw.read(6)
    raw.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if begin.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if begin.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.LZMAFile(raw)
    return raw


def _ends_with_zeros(file: BinaryIO) -> bool:
    file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
    return not any(file.read())


def _extract_zip(archive: Path, unpacked: Unpacked) -> None:
    """Unpack a zip, regular files and folders only."""
    with zipfile.ZipFile(archive) as content, bytes_bar() as bar:
        members = content.infolist()
        total = sum(member.file_size for member in members)
        if total > unpacked.most:
            raise _too_large(archive, unpacked.most)
        require_space(unpacked.folder, total, f"unpacking {archive}")
        task = bar.add_task(f"unpacking {archive.name}", total=total)
        for member in members:
            if member.flag_bits & 1:
                raise DataError(f"{archive} is encrypted; unpack it yourself, with its password")
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise unpacked.unsafe(member.filename, "it is a link or a device")
            if member.is_dir():
                unpacked.add_folder(member.filename)
            else:
                with content.open(member) as file:
                    unpacked.add_file(member.filename, member.file_size, file)
            bar.advance(task, member.file_size)


def _require_plain(archive: Path, folder: Path) -> None:
    """Make sure that nothing but regular files and folders was unpacked, whatever the reader let through."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = (Path(parent) / name).lstat()
            plain = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
            if not plain:
                raise DataError(f"{archive} is not unpacked: {name!r} in it became a link; get the official archive")


def _move(archive: Path, partial: Path, root: Path, last: str) -> None:
    """Move all entries or none."""
    entries = sorted(partial.iterdir(), key=lambda path: (path.name == last, path.name))
    for entry in entries:
        if os.path.lexists(root / entry.name):
            raise DataError(f"{root / entry.name} is there already; delete it, or unpack {archive} elsewhere")
    moved: list[Path] = []
    try:
        for entry in entries:
            entry.rename(root / entry.name)
            moved.append(root / entry.name)
    except OSError:
        for entry in moved:
            _remove(entry)
        raise


def _remove(path: Path) -> None:
    """Remove what lies at a path, if anything does."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _explained(archive: Path, root: Path) -> Iterator[None]:
    """Turn what is wrong with an archive into a sentence."""
    damaged = f"{archive} is damaged or no archive; get it again"
    try:
        yield
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(damaged) from error
    except OSError as error:
        if names_full_disk(error):
            free = shutil.disk_usage(root).free
            raise DataError(
                f"{archive} is not unpacked: the disk of {root} is full ({readable(free)} are left); make room or "
                "choose another folder"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{archive} is not unpacked: a path in it is too long for the disk of {root}") from error
        if error.errno in (None, errno.EINVAL):  # gzip's and bz2's, and a place before the beginning
            raise DataError(damaged) from error
        raise


def _too_large(archive: Path, most: int) -> DataError:
    return DataError(
        f"{archive} is not unpacked: it holds more than the {readable(most)} that are expected of it; if that is "
        "right, allow more by --max_unpacked GB"
    )
