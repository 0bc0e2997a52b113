"""CelebA (Liu et al., ICCV 2015): from the official tables, or Kaggle's, to a manifest."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["CelebALayout"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
FOLDERS = ("img_align_celeba", "img_align_celeba/img_align_celeba")
"""Where the pictures lie: as the official archive extracts, and as Kaggle's does."""
KNOWN_COUNTS = {
    "official": {
        "train": (71629, 66874, 22880, 1387),
        "val": (8535, 8276, 2874, 182),
        "test": (9767, 7535, 2480, 180),
    }
}
"""Pictures per group of blond hair and male; the sums are published, the single numbers inferred."""


@dataclass(frozen=True, slots=True)
class CelebALayout(Layout):
    """Where the parts of CelebA lie, and which attributes are label and spurious factor.

    Attributes:
        root: folder of the tables.
        images: folder of the aligned pictures, relative to ``root``.
        target: attribute that is the label.
        spurious: attribute that is the spurious factor.
    """

    images: str
    target: str
    spurious: str

    name: ClassVar[str] = "celeba"
    title: ClassVar[str] = "CelebA"
    get_it: ClassVar[str] = (
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: img_align_celeba.zip (md5 "
        "00d2c5bc6d35e252742224ab0c1e8fcb), list_attr_celeba.txt and list_eval_partition.txt "
        "(non-commercial research only); extract the pictures"
    )
    needed: ClassVar[str] = "img_align_celeba"
    folders: ClassVar[tuple[str, ...]] = ("celeba", "CelebA")
    listing: ClassVar[str] = "list_eval_partition"
    licence: ClassVar[str] = "non-commercial research"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = {"official": ("train", "val", "test")}
    counted_in: ClassVar[str] = "group counts"
    places: ClassVar[dict[str, str]] = {
        "target": "attribute that is the label, e.g. Blond_Hair",
        "spurious": "attribute that is the spurious factor, e.g. Male",
    }

    @classmethod
    def find(cls, root: str | Path, target: str = "Blond_Hair", spurious: str = "Male") -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.CelebA`.

        Raises:
            DatasetNotFoundError: if the root is missing.
        """
        found = cls.locate(root)
        images = next(name for name in reversed(FOLDERS) if (found / name).is_dir())
        return cls(found, images, target, spurious)

    def watched(self) -> list[Path]:
        """Return the tables and the folder of the pictures."""
        return [self._table("list_attr_celeba"), self._table("list_eval_partition"), self.root / self.images]

    def rows(self) -> list[Row]:
        """Join attributes and partition by the name of the picture.

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
                raise DataError(f"{path} does not say what picture {name} shows; get the table again")
            label, attr = (int(value == "1") for value in values[name])
            rows.append(Row(name, SPLITS[split], label, f"{self.images}/{name}", attr))
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

    def known(self) -> Mapping[str, Counts]:
        """Return the group counts of blond hair and male."""
        return KNOWN_COUNTS if (self.target, self.spurious) == ("Blond_Hair", "Male") else {}

    def counted(self, rows: Sequence[Row]) -> Counts:
        """Return the pictures of each split and group."""
        found = {split: [0, 0, 0, 0] for split in SPLITS.values()}
        for row in rows:
            found[row.split][2 * row.label + row.attr] += 1
        return {split: tuple(values) for split, values in found.items()}

    def _table(self, stem: str) -> Path:
        """Return the official table, or Kaggle's."""
        for suffix in (".txt", ".csv"):
            if (self.root / f"{stem}{suffix}").is_file():
                return self.root / f"{stem}{suffix}"
        raise DatasetNotFoundError.explained(
            f"CelebA's {stem}", f"{self.root / stem}.txt and .csv", self.get_it, "--data.root"
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
                raise DataError(f"{path}: {' '.join(cells)!r} is not 'picture 0', 'picture 1' or 'picture 2'")
            yield cells[0], cells[1]


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line: of the official tables without their first line, which counts the pictures.

    Of the header only the names of the columns after the picture's are left, as the official tables have it.
    """
    with path.open(newline="", encoding="utf-8") as file:
        split = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file)
        for number, cells in enumerate(split):
            if not cells or (number == 0 and len(cells) == 1 and cells[0].isdecimal()):
                continue
            yield cells[1:] if cells[0] == "image_id" else cells
