"""WaterBirds: from the official folder to a manifest. Layout and group ids are those of group_DRO and WILDS."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.builders.cub_foreground import CUBForeground
from maskexp.data.builders.layout import Layout
from maskexp.data.builders.waterbirds_release import waterbirds_card
from maskexp.data.errors import DataError
from maskexp.data.manifest import Card, Row

__all__ = ["WaterBirdsLayout"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
COLUMNS = ("img_id", "img_filename", "y", "split", "place")
MISTAKEN = ("eastern_towhee", "western_meadowlark", "western_wood_pewee")
"""Land birds that the official labels call water birds, because their names contain the word *tern*."""


@dataclass(frozen=True, slots=True)
class WaterBirdsLayout(Layout):
    """Where the parts of WaterBirds lie.

    Attributes:
        root: folder with ``metadata.csv`` and the pictures.
        foreground: segmentations and boxes of CUB.
    """

    foreground: CUBForeground

    name: ClassVar[str] = "waterbirds"
    title: ClassVar[str] = "WaterBirds"
    get_it: ClassVar[str] = (
        "curl -LO https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz && "
        "tar xf waterbird_complete95_forest2water2.tar.gz   (non-commercial research only)"
    )
    needed: ClassVar[str] = "metadata.csv"
    folders: ClassVar[tuple[str, ...]] = (
        "waterbird_complete95_forest2water2",
        "waterbird_1.0_forest2water2",
        "waterbirds_v1.0",
    )
    listing: ClassVar[str] = "metadata.csv"
    places: ClassVar[dict[str, str]] = {
        "cub_root": "CUB-200-2011, for segmentations and bounding boxes",
        "segmentations": "folder of the segmentations",
        "bounding_boxes": "CUB's file of bounding boxes",
    }

    @classmethod
    def find(
        cls,
        root: str | Path,
        cub_root: str | Path | None = None,
        segmentations: str | Path | None = None,
        bounding_boxes: str | Path | None = None,
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.WaterBirds`.

        Raises:
            DatasetNotFoundError: if the root, or something that was asked for, is missing.
            DataError: if ``root`` holds more than one release.
        """
        found = cls.locate(root)
        foreground = CUBForeground.find(cls.title, cub_root, segmentations, bounding_boxes)
        if foreground.segmentations is None and (found / "segmentations").is_dir():
            foreground = CUBForeground(found / "segmentations", foreground.bounding_boxes)
        return cls(found, foreground)

    @property
    def mask_root(self) -> Path | None:
        """Folder of the segmentations."""
        return self.foreground.segmentations

    def watched(self) -> list[Path]:
        """Return the metadata, the folders of the pictures and the foreground."""
        return [self.root / "metadata.csv", self.root, *self.foreground.watched()]

    def rows(self) -> list[Row]:
        """Read ``metadata.csv``.

        Raises:
            DataError: if a column is missing or a value is out of range.
        """
        lines = _read_metadata(self.root / "metadata.csv")
        boxes = self.foreground.boxes()
        masks = self.foreground.masks(line["img_filename"] for line in lines)
        return [
            Row(
                id=line["img_id"],
                split=SPLITS[line["split"]],
                label=int(line["y"]),
                image=line["img_filename"],
                attr=int(line["place"]),
                mask=masks.get(line["img_filename"], ""),
                box=boxes.get(line["img_id"]),
                source=line.get("place_filename") or "",
                pair_id=line["img_id"],
                flags="mislabeled" if _is_mistaken(line) else "",
            )
            for line in lines
        ]

    def card(self, rows: list[Row]) -> Card:
        """Describe the release."""
        with_masks = any(row.mask for row in rows)
        return waterbirds_card(rows, with_masks, self.foreground.bounding_boxes is not None, self.version)


def _read_metadata(path: Path) -> list[dict[str, str]]:
    """Read metadata.csv and check columns and values."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or ()
        for name in COLUMNS:
            if name not in names:
                raise DataError(f"{path} lacks the column {name!r}; it has {', '.join(names) or 'none'}")
        lines = list(reader)
    allowed: dict[str, Mapping[str, str]] = {
        "y": {"0": "land bird", "1": "water bird"},
        "place": {"0": "land", "1": "water"},
        "split": SPLITS,
    }
    for number, line in enumerate(lines, start=2):
        for name, values in allowed.items():
            if line[name] not in values:
                meanings = ", ".join(f"{value} ({meaning})" for value, meaning in values.items())
                raise DataError(f"{path}, line {number}: {name} is {line[name]!r}, out of range; it must be {meanings}")
    return lines


def _is_mistaken(line: dict[str, str]) -> bool:
    """Return whether this land bird is labelled as a water bird."""
    species = line["img_filename"].split("/")[0].lower()
    return line["y"] == "1" and any(name in species for name in MISTAKEN)
