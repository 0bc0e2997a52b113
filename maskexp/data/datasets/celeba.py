"""CelebA (Liu et al., ICCV 2015): from the official tables, or Kaggle's, to a manifest."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo, Download
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import opened_text

__all__ = ["CelebALayout"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
FOLDERS = ("img_align_celeba", "img_align_celeba/img_align_celeba")
"""Where the images lie: as the official archive extracts, and as Kaggle's does."""
KNOWN_COUNTS = {
    "official": {
        "train": (71629, 66874, 22880, 1387),
        "val": (8535, 8276, 2874, 182),
        "test": (9767, 7535, 2480, 180),
    }
}
"""Images per group of blond hair and male; the sums are published, the single numbers inferred."""


@dataclass(frozen=True, slots=True)
class CelebALayout(Layout):
    """Aligned faces; label and spurious factor are two of the 40 attributes, by default those of group_DRO and WILDS.

    Group ids are ``2 * label + attribute``. There is no foreground: the published boxes belong to the images that are
    not aligned. group_DRO evaluates a centre crop of 178 pixels.

    Attributes:
        root: folder of the tables.
        images: folder of the aligned images, relative to ``root``.
        target: attribute that is the label.
        spurious: attribute that is the spurious factor.
    """

    images: str
    target: str
    spurious: str

    name: ClassVar[str] = "celeba"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="CelebA",
        title="CelebA",
        summary="faces; blond hair against male, or any two of 40 attributes",
        paper="Liu et al., ICCV 2015",
        images="162770 / 19867 / 19962",
        size="–",
        automatic="yes",
        command="maskexp data prepare CelebA data/celeba",
        foreground="none",
        get=(
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (or Kaggle's CSV files); then "
            "--data.root. The published boxes belong to the images that are not aligned"
        ),
        licence="non-commercial research",
        downloads={
            "CelebA": (
                Download(
                    "img_align_celeba.zip",
                    (
                        "https://drive.usercontent.google.com/download?export=download&confirm=t&id=0B7EVK8r0v71pZjFTYXZWM3FlRnM"
                    ),
                    "00d2c5bc6d35e252742224ab0c1e8fcb",
                    "img_align_celeba",
                ),
                Download(
                    "list_attr_celeba.txt",
                    (
                        "https://drive.usercontent.google.com/download?export=download&confirm=t&id=0B7EVK8r0v71pblRyaVFSWGxPY0U"
                    ),
                    "75e246fa4810816ffd6ee81facbd244c",
                    "list_attr_celeba.txt",
                ),
                Download(
                    "list_eval_partition.txt",
                    (
                        "https://drive.usercontent.google.com/download?export=download&confirm=t&id=0B7EVK8r0v71pY0NSMzRuSXJEVkk"
                    ),
                    "d32c9cbf5e040fd4025c592c306e6668",
                    "list_eval_partition.txt",
                ),
            )
        },
    )
    needed: ClassVar[str] = "img_align_celeba"
    folders: ClassVar[tuple[str, ...]] = ("celeba", "CelebA")
    listing: ClassVar[str] = "list_eval_partition"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = {"official": ("train", "val", "test")}
    counted_as: ClassVar[str] = "group counts"

    @classmethod
    def find(cls, root: str | Path, target: str = "Blond_Hair", spurious: str = "Male") -> Self:
        """Look the parts up.

        Args:
            root: folder with ``img_align_celeba`` and the tables ``list_attr_celeba`` and ``list_eval_partition``,
                official (``.txt``) or Kaggle's (``.csv``); or the folder in which it lies.
            target: attribute that is the label.
            spurious: attribute that is the spurious factor.

        Raises:
            DatasetNotFoundError: if the root is missing.
        """
        found = cls.locate(root)
        images = next(name for name in reversed(FOLDERS) if (found / name).is_dir())
        return cls(found, images, target, spurious)

    def source_paths(self) -> list[Path]:
        """Return the tables and the folder of the images."""
        return [self._table("list_attr_celeba"), self._table("list_eval_partition"), self.root / self.images]

    def rows(self) -> list[Row]:
        """Join attributes and partition by the name of the image.

        Raises:
            DataError: if a table is damaged, or has no such attribute.
        """
        path = self._table("list_attr_celeba")
        lines = _lines(path)
        header = next(lines, [])
        columns = [self._column(header, path, name) for name in (self.target, self.spurious)]
        values = {name: [cells[column] for column in columns] for name, *cells in lines if len(cells) == len(header)}
        rows = []
        for name, split in self._partition():
            if name not in values or not set(values[name]) <= {"1", "-1", "0"}:
                raise DataError(f"{path} does not say what image {name} shows; get the table again")
            label, attribute = (int(value == "1") for value in values[name])
            rows.append(Row(name, SPLITS[split], label, f"{self.images}/{name}", attribute))
        return rows

    @property
    def classes(self) -> tuple[str, ...]:
        """The values of the target."""
        return (f"not {self.target}", self.target)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The values of the spurious factor."""
        return (f"not {self.spurious}", self.spurious)

    @property
    def recipe(self) -> dict[str, Any]:
        """The two attributes."""
        return {"target": self.target, "spurious": self.spurious}

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the group counts of blond hair and male."""
        return KNOWN_COUNTS if (self.target, self.spurious) == ("Blond_Hair", "Male") else {}

    def split_counts(self, rows: Sequence[Row]) -> Counts:
        """Return the images of each split and group."""
        found = {split: [0, 0, 0, 0] for split in SPLITS.values()}
        for row in rows:
            found[row.split][2 * row.label + row.attribute] += 1
        return {split: tuple(values) for split, values in found.items()}

    def _table(self, stem: str) -> Path:
        """Return the official table, or Kaggle's."""
        for suffix in (".txt", ".csv"):
            if (self.root / f"{stem}{suffix}").is_file():
                return self.root / f"{stem}{suffix}"
        raise DatasetNotFoundError.explained(
            f"CelebA's {stem}", f"{self.root / stem}.txt and .csv", self.info.way, "--data.root"
        )

    def _column(self, header: list[str], path: Path, name: str) -> int:
        if name not in header:
            raise DataError(f"{path} has no attribute {name!r}; it has {', '.join(header) or 'none'}")
        return header.index(name)

    def _partition(self) -> Iterator[tuple[str, str]]:
        path = self._table("list_eval_partition")
        for cells in _lines(path):
            if cells == ["partition"]:
                continue
            if len(cells) != 2 or cells[1] not in SPLITS:
                raise DataError(f"{path}: {' '.join(cells)!r} is not 'image 0', 'image 1' or 'image 2'")
            yield cells[0], cells[1]


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line: of the official tables without their first line, which counts the images.

    Of the header only the names of the columns after the image's are left, as the official tables have it.
    """
    with opened_text(path) as file:
        split = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file)
        for number, cells in enumerate(split):
            if not cells or (number == 0 and len(cells) == 1 and cells[0].isdecimal()):
                continue
            yield cells[1:] if cells[0] == "image_id" else cells
