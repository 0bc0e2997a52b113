"""WaterBirds: from the official folder to a manifest. Layout and group ids are those of group_DRO and WILDS."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.builders.cub_foreground import CUBForeground
from maskexp.data.builders.waterbirds_release import INFERRED, KNOWN_COUNTS, group_counts, notes_on
from maskexp.data.errors import DataError
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["WaterBirdsLayout"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
COLUMNS = ("img_id", "img_filename", "y", "split", "place")
MISTAKEN = ("eastern_towhee", "western_meadowlark", "western_wood_pewee")
"""Land birds that the official labels call water birds, because their names contain the word *tern*."""
FOLDERS = {
    "waterbird_complete95_forest2water2": "complete95",
    "waterbird_1.0_forest2water2": "complete100",
    "waterbirds_v1.0": "complete95",
}
"""Release by the name under which its archive extracts."""
PARTS = ("test_fg", "test_bg")
"""Folders, and splits, of the test birds alone and of their scenes alone, which ``maskexp data make`` can write."""


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
    folders: ClassVar[tuple[str, ...]] = tuple(FOLDERS)
    listing: ClassVar[str] = "metadata.csv"
    licence: ClassVar[str] = "non-commercial research (CUB-200-2011, Places)"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = INFERRED
    counted_in: ClassVar[str] = "group counts"
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
        parts = [self.root / part for part in PARTS]
        return [self.root / "metadata.csv", self.root, *parts, *self.foreground.watched()]

    def rows(self) -> list[Row]:
        """Read ``metadata.csv``; the folders ``test_fg`` and ``test_bg`` hold further pictures of the test birds.

        Raises:
            DataError: if a column is missing or a value is out of range.
        """
        lines = _read_metadata(self.root / "metadata.csv")
        boxes = self.foreground.boxes()
        masks = self.foreground.masks(line["img_filename"] for line in lines)
        rows = [
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
        tested = [row for row in rows if row.split == "test"]
        return [*rows, *(_part_of(row, part) for part in self._parts() for row in tested)]

    @property
    def classes(self) -> tuple[str, ...]:
        """The kinds of birds."""
        return ("landbird", "waterbird")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The places."""
        return ("land", "water")

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what CUB's segmentations are, if one of them belongs to a picture."""
        if any(row.mask for row in rows):
            return "soft", "segmentations"
        return "none", "" if self.foreground.bounding_boxes is None else "bounding_boxes"

    def known(self) -> Mapping[str, Counts]:
        """Return the group counts of the three releases."""
        return KNOWN_COUNTS

    def claimed(self) -> str | None:
        """Return the release whose archive extracts under the name of the folder."""
        return FOLDERS.get(self.root.name)

    def counted(self, rows: Sequence[Row]) -> Counts:
        """Return the pictures of each split and group."""
        return group_counts(rows)

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say what is wrong or missing in the release."""
        return notes_on(rows, any(row.mask for row in rows))

    def _parts(self) -> list[str]:
        return [part for part in PARTS if (self.root / part).is_dir()]


def _part_of(row: Row, part: str) -> Row:
    """Return the row of a test bird without its scene, or of a scene without its bird."""
    image = f"{part}/{row.image}"
    if part == "test_fg":
        return replace(row, split=part, image=image, source="")
    return replace(row, split=part, image=image, mask="", box=None)


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
