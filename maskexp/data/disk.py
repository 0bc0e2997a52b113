"""What every command that writes much data needs: room on the disk, a lock, and a progress bar on stderr."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from maskexp.data.errors import DataError
from maskexp.files import exclusive_lock, existing_parent, readable

__all__ = ["bytes_bar", "files_bar", "readable", "require_space", "writing"]


def require_space(folder: Path, needed: int, what: str) -> None:
    """Make sure that the disk of a folder, which need not exist yet, has room.

    Args:
        folder: where ``what`` is going to be written.
        needed: bytes.
        what: for the message.

    Raises:
        DataError: if there is too little room.
    """
    existing = existing_parent(folder)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DataError(
            f"{what} needs about {readable(needed)} but the disk of {existing} has {readable(free)} left; make room "
            "or choose another folder"
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Let one process at a time write a folder; another one says that it waits, and waits."""
    log = logging.getLogger(__name__)
    with exclusive_lock(folder, lambda: log.warning("another process is writing %s; waiting for it", folder)):
        yield


def files_bar() -> Progress:
    """Return a progress bar that counts files."""
    return _bar(MofNCompleteColumn(table_column=_whole()))


def bytes_bar() -> Progress:
    """Return a progress bar of what is read or downloaded, in bytes."""
    return _bar(TaskProgressColumn(table_column=_whole()), TransferSpeedColumn(table_column=_whole()))


def _bar(*columns: MofNCompleteColumn | TaskProgressColumn | TransferSpeedColumn) -> Progress:
    # Where a line is too short for all, a long path loses its end, never a number.
    text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=32))
    remaining = TimeRemainingColumn(table_column=_whole())
    return Progress(text, BarColumn(), *columns, remaining, console=Console(stderr=True))


def _whole() -> Column:
    return Column(no_wrap=True)
