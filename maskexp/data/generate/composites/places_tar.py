"""The Places365 archive (105 GB): read once from beginning to end, and only the wanted scenes are kept."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from maskexp.data.disk import bytes_bar, require_space, writing
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.files import atomic_write, write_json

__all__ = ["STDIN", "keep_scenes"]

STDIN = "-"
"""Name of an archive that comes from a pipe."""
COMPLETE = "complete.json"
"""Written when the archive was read to its end."""
ROOM = 4_000_000_000
"""Bytes that four categories of 5 000 scenes of the large Places365 take."""


def keep_scenes(archive: str | Path, folder: Path, categories: Sequence[str]) -> Path:
    """Copy the scenes of some categories out of a tar, unless an earlier call did.

    The tar is streamed: nothing else of it touches the disk, and it may come from a pipe. After an interruption it is
    read again from its beginning, but scenes that were kept are not written again.

    Args:
        archive: a tar of ``…/<letter>/<category>/<number>.jpg``, or ``-`` for the standard input.
        folder: where the scenes go, as ``<folder>/<letter>/<category>/<number>.jpg``.
        categories: e.g. ``/o/ocean``.

    Returns:
        ``folder``.

    Raises:
        DatasetNotFoundError: if there is no such archive.
        DataError: if it ends early, is no tar, or lacks a category.
    """
    with writing(folder):
        if (folder / COMPLETE).is_file():
            return folder
        if str(archive) != STDIN and not Path(archive).is_file():
            raise DatasetNotFoundError.explained(
                "The archive of Places365",
                str(archive),
                "http://data.csail.mit.edu/places/places365/train_large_places365standard.tar",
                "--places",
            )
        require_space(folder, min(ROOM, _size(archive) or ROOM), f"keeping scenes of {archive} in {folder}")
        counts = _copy(archive, folder, categories)
        for category in categories:
            if not counts[category]:
                raise DataError(f"{archive} has no images of {category}; it is not the archive of Places365's layout")
        write_json(folder / COMPLETE, {category: counts[category] for category in categories})
    return folder


class Tail(io.RawIOBase):
    """A stream whose last block is remembered: a tar ends with zeros, but tarfile takes one that was cut for whole.

    Attributes:
        last: up to 512 bytes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.stream = stream
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        block = self.stream.read(size)
        self.last = block[-tarfile.BLOCKSIZE :] or self.last
        return block


def _copy(archive: str | Path, folder: Path, categories: Sequence[str]) -> Counter[str]:
    """Write the wanted members and count them by category."""
    counts: Counter[str] = Counter()
    with _opened(archive) as file, bytes_bar() as bar:
        raw = Tail(file)
        task = bar.add_task(f"scenes of {archive}", total=_size(archive))
        try:
            with tarfile.open(fileobj=raw, mode="r|") as tar:
                for member in tar:
                    bar.update(task, completed=member.offset_data)
                    path = PurePosixPath(member.name)
                    category = next((name for name in categories if f"/{path.parent}".endswith(name)), None)
                    content = tar.extractfile(member) if category and member.isfile() else None
                    if category and content:
                        counts[category] += 1
                        _keep(content, folder / category[1:] / path.name)
        except tarfile.TarError as error:
            raise DataError(f"{archive} cannot be read as a tar to its end ({error}); get it again") from error
    if any(raw.last):
        raise DataError(f"{archive} cannot be read as a tar to its end (its end is missing); get it again")
    return counts


def _keep(content: IO[bytes], target: Path) -> None:
    """Write a scene, unless it was kept before."""
    if not target.is_file():
        with atomic_write(target) as partial, partial.open("wb") as file:
            shutil.copyfileobj(content, file)


@contextmanager
def _opened(archive: str | Path) -> Iterator[IO[bytes]]:
    """Open the archive, or lend the standard input."""
    if str(archive) == STDIN:
        yield sys.stdin.buffer
    else:
        with Path(archive).open("rb") as file:
            yield file


def _size(archive: str | Path) -> int | None:
    """Return the archive's bytes, None where they are unknown."""
    return None if str(archive) == STDIN else Path(archive).stat().st_size
