"""Files that are written whole or not at all, and folders that one process at a time works on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


class DiskFullError(OSError):
    """A file cannot be written because its disk is full; the message is a sentence for the user."""

    def __init__(self, target: Path) -> None:
        left = readable(shutil.disk_usage(existing_parent(target)).free)
        super().__init__(
            f"{target} cannot be written: its disk is full ({left} left); make room or choose another folder"
        )


def names_full_disk(error: BaseException) -> bool:
    """Return whether an error says that a disk, or a user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def existing_parent(path: Path) -> Path:
    """Return the closest folder above ``path``, or ``path`` itself, that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether something lies at a path that is neither a file nor a folder: reading a pipe may never end."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116, Path has no way to ask for both at once
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` at its beginning replaced by the user's home; of an unknown user it stays."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def readable(size: int) -> str:
    """Return a number of bytes in words, e.g. ``1.2 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well.

    The temporary file keeps the suffix of ``path``, so that writers which look at it behave alike. An exception
    inside the block removes the temporary file and leaves ``path`` as it was.

    Raises:
        DiskFullError: if the disk is full.

    Example:
        >>> with atomic_write("metrics.json") as partial:  # doctest: +SKIP
        ...     partial.write_text("{}")
    """
    target = Path(path)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=f".part{target.suffix}")
        os.close(handle)
        partial = Path(name)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(target)
    except OSError as error:
        if names_full_disk(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(target) from error
        raise
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


@contextmanager
def exclusive_lock(folder: Path, when_busy: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time work on a folder, which need not exist yet.

    Args:
        folder: the folder; the lock is a hidden file beside it.
        when_busy: called once where another process holds the lock, before waiting for it; raises to give up instead.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        when_busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all.

    Raises:
        ValueError: if ``content`` holds NaN or infinity, which JSON cannot hold.
    """
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path} is not written: a number in it is not finite, and so not JSON compliant") from error
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
