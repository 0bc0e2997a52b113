"""Folders of images, and masks that are converted once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskexp.data.manifest.prepared import atomic_write_folder, cache_folder

__all__ = ["converted_masks", "image_files", "is_image_file", "subfolders"]

SUFFIXES = (
    *(
        ".avif",
        ".bmp",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
    ),
    *(".tif", ".tiff", ".webp"),
)


def subfolders(folder: Path) -> list[Path]:
    """Return the sub-folders but for hidden ones, sorted; none where ``folder`` is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def is_image_file(path: Path) -> bool:
    """Return whether a path is an image by its name; hidden files, such as macOS's ``._name.jpg``, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name; none where ``folder`` is no folder."""
    return sorted(filter(is_image_file, folder.iterdir())) if folder.is_dir() else []


def converted_masks(
    cache_dir: str | Path | None, name: str, key: dict[str, Any], convert: Callable[[Path], None]
) -> Path:
    """Return the folder of converted masks, written on first use.

    The data may lie where nothing can be written, so the masks go to ``<cache>/masks/<name>-<hash of key>/``, which
    appears whole: see :func:`~maskexp.data.manifest.prepared.atomic_write_folder`.

    Args:
        cache_dir: the cache; see :func:`~maskexp.data.manifest.prepared.cache_folder`.
        name: the data set.
        key: paths and state of the source files; another key means another folder.
        convert: writes the masks into the folder it is given.

    Raises:
        DataError: if the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder(cache_dir) / "masks" / f"{name}-{digest}"
    if not folder.is_dir():
        atomic_write_folder(folder, convert, "the masks")
    return folder
