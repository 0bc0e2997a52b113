"""Archives whose address *and* checksum are published; all other data has to be fetched by hand."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SOURCES", "Download"]


@dataclass(frozen=True, slots=True)
class Download:
    """One published file.

    Attributes:
        file: its name.
        url: where it is.
        md5: as published.
        makes: file or folder that stands in the root once it is unpacked; for a plain file its own name.
        size: bytes, 0 where they are not published.
    """

    file: str
    url: str
    md5: str
    makes: str
    size: int = 0


CALTECH = "https://data.caltech.edu/records"
FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"
PLACES = "http://data.csail.mit.edu/places/places365"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

SOURCES: dict[str, tuple[Download, ...]] = {
    "CUB": (
        Download(
            "CUB_200_2011.tgz",
            f"{CALTECH}/65de6-vp158/files/CUB_200_2011.tgz?download=1",
            "97eceeb196236b17998738112f37df78",
            "CUB_200_2011",
            1_150_585_339,
        ),
        Download(
            "segmentations.tgz",
            f"{CALTECH}/w9d68-gec53/files/segmentations.tgz?download=1",
            "4d47ba1228eae64f2fa547c47bc65255",
            "segmentations",
            39_272_883,
        ),
    ),
    "Imagenette": (
        Download("imagenette2.tgz", f"{FASTAI}/imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612", "imagenette2"),
    ),
    "Imagenette-320": (
        Download(
            "imagenette2-320.tgz",
            f"{FASTAI}/imagenette2-320.tgz",
            "3df6f0d01a2c9592104656642f5e78a3",
            "imagenette2-320",
        ),
    ),
    "Imagenette-160": (
        Download(
            "imagenette2-160.tgz",
            f"{FASTAI}/imagenette2-160.tgz",
            "e793b78cc4c9e9a4ccc0c1155377a412",
            "imagenette2-160",
        ),
    ),
    "Places365Val": (
        Download("val_large.tar", f"{PLACES}/val_large.tar", "9b71c4993ad89d2d8bcbdc4aef38042f", "val_large"),
        Download(
            "filelist_places365-standard.tar",
            f"{PLACES}/filelist_places365-standard.tar",
            "35a0585fee1fa656440f3ab298f8479c",
            "places365_val.txt",  # and categories_places365.txt
        ),
    ),
    "CelebA": (
        Download(
            "img_align_celeba.zip",
            f"{DRIVE}0B7EVK8r0v71pZjFTYXZWM3FlRnM",
            "00d2c5bc6d35e252742224ab0c1e8fcb",
            "img_align_celeba",
        ),
        Download(
            "list_attr_celeba.txt",
            f"{DRIVE}0B7EVK8r0v71pblRyaVFSWGxPY0U",
            "75e246fa4810816ffd6ee81facbd244c",
            "list_attr_celeba.txt",
        ),
        Download(
            "list_eval_partition.txt",
            f"{DRIVE}0B7EVK8r0v71pY0NSMzRuSXJEVkk",
            "d32c9cbf5e040fd4025c592c306e6668",
            "list_eval_partition.txt",
        ),
    ),
}
"""Addresses and checksums: Caltech's records (CUB), and torchvision's tables (all others)."""
