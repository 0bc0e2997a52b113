"""The lock on a cell's directory, held by the process that runs the cell and by nobody else."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskexp.studies.study import StudyError

__all__ = ["is_held", "locked"]


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """Yield the descriptor of a cell's lock, or None if another process holds it.

    A reader that looks whether the lock is held holds a shared lock for a moment; hence the second tries.

    Raises:
        StudyError: if the file system refuses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _without_lock(folder, error) from error
    try:
        for attempt in range(5):
            if _taken(descriptor, fcntl.LOCK_EX, folder):
                yield descriptor
                return
            time.sleep(0.02 * attempt)
        yield None
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Tell whether a process runs the cell of a directory.

    Raises:
        StudyError: if the file system refuses the lock.
    """
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _without_lock(folder, error) from error
    try:
        return not _taken(descriptor, fcntl.LOCK_SH, folder)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, kind: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _without_lock(folder, error) from error
    return True


def _without_lock(folder: Path, error: OSError) -> StudyError:
    return StudyError(
        f"{folder} cannot be locked: {error.strerror}; runs need a folder that you may write, on a file system "
        "with locks"
    )
