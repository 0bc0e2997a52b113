"""``maskexp data prepare``: from nothing, or from archives at hand, to the folder that a datamodule reads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from maskexp.data.disk import require_space, writing
from maskexp.data.downloads.archives import extract, is_archive
from maskexp.data.downloads.fetch import fetch, md5_of, verify
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import Download
from maskexp.data.manifest.layout import Layout
from maskexp.data.registry import DATASETS, DOWNLOADS, SOURCES
from maskexp.files import atomic_write

__all__ = ["PREPARABLE", "prepare_data"]

RAW = "_raw"
"""Folder in the root where archives are kept as they came."""
LAYOUTS = {name: source for name, source in SOURCES.items() if issubclass(source, Layout)}
PREPARABLE = tuple(dict.fromkeys([*DOWNLOADS, *LAYOUTS]))


def prepare_data(name: str, root: Path, raw: Sequence[Path] = (), most: int | None = None) -> list[str]:
    """Unpack the official files of a data set into a folder, and download those that are missing and published.

    What is there already is not touched; after an interruption the same call goes on.

    Args:
        name: one of :data:`PREPARABLE`.
        root: folder to unpack into; archives are kept in ``root/_raw``.
        raw: archives at hand. Where a checksum is published, they must have it.
        most: bytes that an archive may hold unpacked, see :func:`~maskexp.data.downloads.archives.extract`.

    Returns:
        What was done, in sentences.

    Raises:
        DatasetNotFoundError: if an archive of ``raw`` is missing, or if the data can only be fetched by hand: it
            says what to get, and where to put it.
        DataError: if a file cannot be downloaded, is damaged, or is unsafe.
    """
    for path in raw:
        if not path.is_file():
            raise DatasetNotFoundError.explained(f"An archive of {name}", str(path), _by_hand(name), "--raw")
    with writing(root):
        if name in DOWNLOADS:
            return [_provide(download, root, raw, most) for download in _wanted(name, raw)]
        if not raw:
            return [_found(name, root)]
        return [_unpack(path, root, most) for path in raw]


def _wanted(name: str, raw: Sequence[Path]) -> tuple[Download, ...]:
    """Return the files of a data set, and make sure that all archives at hand belong to it."""
    known = [download.file for download in DOWNLOADS[name]]
    for path in raw:
        if path.name not in known:
            raise DataError(f"{path} is none of the files of {name}; they are {', '.join(known)}")
    return DOWNLOADS[name]


def _provide(download: Download, root: Path, raw: Sequence[Path], most: int | None) -> str:
    """Make one file or folder of the root, unless it is there."""
    made = root / download.makes
    if made.exists():
        return f"{made} is there already"
    given = next((path for path in raw if path.name == download.file), None)
    if given is not None:
        verify(given, download)
    archive = given or fetch(download, root / RAW)
    if is_archive(archive):
        extract(archive, root, last=download.makes, most=most)
        if not made.exists():
            raise DataError(f"{archive} was unpacked into {root} but held no {download.makes}")
    else:
        require_space(root, archive.stat().st_size, f"copying {archive}")
        with atomic_write(made) as partial:
            shutil.copyfile(archive, partial)
    return f"{made} made of {archive} (md5 as published)"


def _unpack(archive: Path, root: Path, most: int | None) -> str:
    """Unpack an archive for which no checksum is published."""
    extract(archive, root, most=most)
    return f"{archive} unpacked into {root}; no checksum is published, this file has md5 {md5_of(archive)}"


def _found(name: str, root: Path) -> str:
    """Say that the data is there, or how to get it."""
    if (root / LAYOUTS[name].needed).exists() or any((root / known).is_dir() for known in LAYOUTS[name].folders):
        return f"{root} holds {LAYOUTS[name].info.title} already"
    raise DatasetNotFoundError(
        f"{LAYOUTS[name].info.title} cannot be downloaded by maskexp: no address with a checksum is published.\n"
        f"  get it      {_by_hand(name)}\n"
        f"  unpack it   maskexp data prepare {name} {root} --raw ARCHIVE, or yourself, so that {root} holds "
        f"{LAYOUTS[name].needed}"
    )


def _by_hand(name: str) -> str:
    """Say where the data is."""
    if name in DOWNLOADS:
        return " and ".join(f"{download.url} (md5 {download.md5})" for download in DOWNLOADS[name])
    return DATASETS[name].get
