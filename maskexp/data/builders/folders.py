"""Folders of pictures, one per class."""

from __future__ import annotations

from pathlib import Path

__all__ = ["pictures", "subfolders"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def subfolders(folder: Path) -> list[Path]:
    """Return the sub-folders, sorted; none where ``folder`` is no folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def pictures(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name; none where ``folder`` is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
