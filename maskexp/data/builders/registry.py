"""The layouts of all data sets that come from an official download, by the name of their datamodule."""

from __future__ import annotations

from typing import Final

from maskexp.data.builders.an8flower import An8FlowerLayout
from maskexp.data.builders.bam import BAMLayout
from maskexp.data.builders.celeba import CelebALayout
from maskexp.data.builders.cub import CUBLayout
from maskexp.data.builders.hardimagenet import HardImageNetLayout
from maskexp.data.builders.imagenet9 import ImageNet9Layout
from maskexp.data.builders.imagenet100 import ImageNet100Layout
from maskexp.data.builders.imagenette import ImagenetteLayout, ImageWoofLayout
from maskexp.data.builders.metashift import MetaShiftLayout
from maskexp.data.builders.nicopp import NICOPlusPlusLayout
from maskexp.data.builders.spawrious import SpawriousLayout
from maskexp.data.builders.travelingbirds import TravelingBirdsLayout
from maskexp.data.builders.waterbirds import WaterBirdsLayout
from maskexp.data.manifest.layout import Layout

__all__ = ["LAYOUTS"]

LAYOUTS: Final[dict[str, type[Layout]]] = {
    "WaterBirds": WaterBirdsLayout,
    "CUB": CUBLayout,
    "TravelingBirds": TravelingBirdsLayout,
    "ImageNet9": ImageNet9Layout,
    "HardImageNet": HardImageNetLayout,
    "Imagenette": ImagenetteLayout,
    "ImageWoof": ImageWoofLayout,
    "ImageNet100": ImageNet100Layout,
    "Spawrious": SpawriousLayout,
    "CelebA": CelebALayout,
    "MetaShift": MetaShiftLayout,
    "NICOPlusPlus": NICOPlusPlusLayout,
    "An8Flower": An8FlowerLayout,
    "BAM": BAMLayout,
}
