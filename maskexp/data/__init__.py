"""Data sets and datamodules. Names are imported when first used, so that light commands stay light.

A datamodule has the name of its data set, e.g. ``maskexp.data.WaterBirds``; ``maskexp data list`` names them all, and
:mod:`maskexp.data.datasets` declares them.

Example:
    >>> from maskexp.data import SyntheticBirds
    >>> data = SyntheticBirds(image_size=32, train_size=8, val_size=4, test_size=4)
    >>> data.spec.class_names
    ('landbird', 'waterbird')
    >>> batch = data.fetch("test", [0, 1])
    >>> batch["image"].shape, batch["foreground"].shape
    (torch.Size([2, 3, 32, 32]), torch.Size([2, 1, 32, 32]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskexp.data.errors import CorruptImageError as CorruptImageError
    from maskexp.data.errors import DataError as DataError
    from maskexp.data.errors import DatasetNotFoundError as DatasetNotFoundError
    from maskexp.data.generate.synthetic_birds import SyntheticBirds as SyntheticBirds
    from maskexp.data.loading.datamodule import ImageDataModule as ImageDataModule
    from maskexp.data.loading.dataset import ManifestDataset as ManifestDataset

_HOMES = {
    "CorruptImageError": "errors",
    "DataError": "errors",
    "DatasetNotFoundError": "errors",
    "ImageDataModule": "loading.datamodule",
    "ManifestDataset": "loading.dataset",
    "SyntheticBirds": "generate.synthetic_birds",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module, or derive the datamodule of a data set in files."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "__all__":
        return sorted([*_HOMES, *_sources()])
    if not name.startswith("_") and name in _sources():
        return import_module(f"{__name__}.loading.file_datamodule").datamodule_of(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_HOMES, *_sources()])


def _sources() -> dict[str, Any]:
    sources: dict[str, Any] = import_module(f"{__name__}.registry").SOURCES
    return sources
