"""A manifest and the folders that its paths start from; and the place where built manifests are kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from maskexp.data.errors import DataError
from maskexp.data.manifest.table import Card, ManifestTable
from maskexp.files import expanded

__all__ = [
    "Prepared",
    "atomic_write_folder",
    "cache_folder",
    "cached_table",
    "in_parallel",
    "names_with_times",
    "own_card",
]

SPLIT_NAMES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
"""Names that people give to the three splits, and ours."""
BLOCK = 64
"""Items of a task of a thread."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a builder returns.

    Attributes:
        table: the manifest. Its paths are relative, so that its digest is the same wherever the data lies.
        root: folder of the images.
        mask_root: folder of the masks; None where there are none.
        elsewhere: folder of the images of each split that does not lie in ``root``.
    """

    table: ManifestTable
    root: Path
    mask_root: Path | None = None
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def image_root(self, split: str) -> Path:
        """Return the folder to which the image paths of a split are relative."""
        return self.elsewhere.get(split, self.root)


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Return where built manifests are kept: ``given``, else ``$MASKEXP_CACHE``, else the user's cache directory."""
    if given is not None:
        return expanded(given)
    if chosen := os.environ.get("MASKEXP_CACHE"):
        return expanded(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maskexp"


def cached_table(cache: Path, name: str, key: dict[str, Any], build: Callable[[], ManifestTable]) -> ManifestTable:
    """Return the manifest of ``key``, built on first use.

    The data may lie where nothing can be written, so the manifest does not go there but to
    ``<cache>/manifests/<name>-<hash of key>/``. ``key`` holds the paths and a fingerprint of the source files: when one
    of them changes, another folder is looked for, and no stale manifest is ever read. The folder appears whole, by
    renaming; of several processes that build at once the first wins and the others read its result.

    Raises:
        DataError: if the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "manifests" / f"{name}-{digest}"
    if not folder.is_dir():
        atomic_write_folder(folder, build().write, "the manifest")
    return ManifestTable.read(folder)


def atomic_write_folder(folder: Path, write: Callable[[Path], None], what: str) -> None:
    """Write a folder of the cache so that it appears whole.

    Args:
        folder: the folder; if another process is faster, its result stays.
        write: fills the folder it is given.
        what: the content in words, for the message.

    Raises:
        DataError: if the cache cannot be written.
    """
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        write(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was faster
            raise DataError(
                f"{what} cannot be written to {folder} ({error}); set MASKEXP_CACHE or the argument cache_dir to a "
                "folder that can be written"
            ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def names_with_times(folder: Path) -> list[tuple[str, int]]:
    """Return the sub-folders of ``folder`` with the times of their last change, which adding a file updates."""
    with os.scandir(folder) as entries:
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries if entry.is_dir())


def in_parallel(function: Callable[[T], R], items: Iterable[T], workers: int = 8) -> list[R]:
    """Apply ``function`` to all items in threads, for files that wait on a disk or a network; keeps the order."""
    results: list[R] = []
    remaining = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        # In blocks: the pool keeps about a kilobyte for each task, and one for each item costs more than the item.
        while block := list(islice(remaining, BLOCK * workers)):
            tasks = [block[start : start + BLOCK] for start in range(0, len(block), BLOCK)]
            for done in pool.map(lambda task: [function(item) for item in task], tasks):
                results += done
    return results


def own_card(
    name: str, classes: tuple[str, ...], attributes: tuple[str, ...], with_masks: bool, notes: tuple[str, ...]
) -> Card:
    """Describe a user's own data."""
    kind = "soft" if with_masks else "none"
    return Card(name, "own", classes, attributes, kind, "own" if with_masks else "", "own", notes, {"name": "own"})
