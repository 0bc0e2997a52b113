"""The folder that a generator writes: claimed by a recipe, resumed after an interruption, never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import PIL

from maskexp.data.disk import files_bar, require_space, writing
from maskexp.data.errors import DataError
from maskexp.data.generate.composites.composite import Composite, write_composite
from maskexp.data.text_files import text_of
from maskexp.files import write_json

__all__ = ["RECIPE", "fingerprint", "write_composites"]

RECIPE = "recipe.json"
"""What the images of a folder are made of; its presence says that the folder is a generator's."""
GROWTH = 2
"""Room to ask for: a composite of quality 95 takes up to about twice the space of its bird's JPEG."""


def write_composites(
    folder: Path, recipe: dict[str, Any], composites: Sequence[Composite], quality: int, workers: int
) -> None:
    """Write all images that are not there yet.

    Args:
        folder: new, empty, or begun before with the same recipe.
        recipe: everything that decides what the images are, as plain types.
        composites: to be written.
        quality: of the JPEGs, 1 to 100.
        workers: threads.

    Raises:
        DataError: if the folder holds something else, if the disk is too small, or if a bird, mask or scene is damaged.
    """
    if not 1 <= quality <= 100:
        raise DataError(f"quality is {quality}; it must be from 1 to 100")
    with writing(folder):
        _claim(folder, {**recipe, "quality": quality, "pillow": PIL.__version__})
        missing = [composite for composite in composites if not _is_there(composite, folder)]
        sizes = [composite.bird.stat().st_size for composite in missing]
        require_space(folder, GROWTH * sum(sizes), f"{folder} with {len(missing)} more images")
        with files_bar() as bar, ThreadPoolExecutor(workers) as pool:
            task = bar.add_task(str(folder), total=len(composites), completed=len(composites) - len(missing))
            try:
                for _ in pool.map(partial(write_composite, folder=folder, quality=quality), missing):
                    bar.advance(task)
            except BaseException:
                pool.shutdown(cancel_futures=True)  # else thousands of images would still be written
                raise


def fingerprint(lines: Iterable[Iterable[object]]) -> str:
    """Return the hash of a table: of what is made from what."""
    return hashlib.sha256(json.dumps([list(line) for line in lines]).encode()).hexdigest()


def _claim(folder: Path, recipe: dict[str, Any]) -> None:
    """Make the folder ours, and remove what a killed process left half-written."""
    path = folder / RECIPE
    if path.is_file():
        found = json.loads(text_of(path))
        other = sorted(key for key in found.keys() | recipe.keys() if found.get(key) != recipe.get(key))
        if other:
            raise DataError(
                f"{folder} was begun with {other[0]} {found.get(other[0])!r} instead of {recipe.get(other[0])!r}; "
                "choose another folder, or delete it"
            )
        for leftover in sorted(folder.rglob(".*.part.*")):
            leftover.unlink()
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} holds something else; choose a new or empty folder")
    write_json(path, recipe)


def _is_there(composite: Composite, folder: Path) -> bool:
    return all((folder / path).is_file() for path in (composite.target, composite.mask_target) if path)
