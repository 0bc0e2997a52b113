"""Data sets, datamodules and builders. Names are imported when first used, so that light commands stay light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskexp.data.an8flower import An8Flower as An8Flower
    from maskexp.data.bam import BAM as BAM
    from maskexp.data.celeba import CelebA as CelebA
    from maskexp.data.cub import CUB as CUB
    from maskexp.data.errors import CorruptImageError as CorruptImageError
    from maskexp.data.errors import DataError as DataError
    from maskexp.data.errors import DatasetNotFoundError as DatasetNotFoundError
    from maskexp.data.hardimagenet import HardImageNet as HardImageNet
    from maskexp.data.imagenet9 import ImageNet9 as ImageNet9
    from maskexp.data.imagenet100 import ImageNet100 as ImageNet100
    from maskexp.data.imagenette import Imagenette as Imagenette
    from maskexp.data.imagenette import ImageWoof as ImageWoof
    from maskexp.data.loading.datamodule import ImageDataModule as ImageDataModule
    from maskexp.data.loading.dataset import ManifestDataset as ManifestDataset
    from maskexp.data.metashift import MetaShift as MetaShift
    from maskexp.data.nicopp import NICOPlusPlus as NICOPlusPlus
    from maskexp.data.own import Manifest as Manifest
    from maskexp.data.spawrious import Spawrious as Spawrious
    from maskexp.data.synthetic_birds import SyntheticBirds as SyntheticBirds
    from maskexp.data.travelingbirds import TravelingBirds as TravelingBirds
    from maskexp.data.waterbirds import WaterBirds as WaterBirds

_HOMES = {
    "An8Flower": "an8flower",
    "BAM": "bam",
    "CUB": "cub",
    "CelebA": "celeba",
    "CorruptImageError": "errors",
    "DataError": "errors",
    "DatasetNotFoundError": "errors",
    "HardImageNet": "hardimagenet",
    "ImageDataModule": "loading.datamodule",
    "ImageNet100": "imagenet100",
    "ImageNet9": "imagenet9",
    "ImageWoof": "imagenette",
    "Imagenette": "imagenette",
    "Manifest": "own",
    "ManifestDataset": "loading.dataset",
    "MetaShift": "metashift",
    "NICOPlusPlus": "nicopp",
    "Spawrious": "spawrious",
    "SyntheticBirds": "synthetic_birds",
    "TravelingBirds": "travelingbirds",
    "WaterBirds": "waterbirds",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
