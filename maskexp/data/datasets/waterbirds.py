"""WaterBirds: from the official folder to a manifest. Layout and group ids are those of group_DRO and WILDS."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.cub import CUBForeground
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import opened_text

__all__ = ["INFERRED", "KNOWN_COUNTS", "WaterBirdsLayout", "group_counts", "notes_on"]

KNOWN_COUNTS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "complete95": {"train": (3498, 184, 56, 1057), "val": (467, 466, 133, 133), "test": (2255, 2255, 642, 642)},
    "complete100": {"train": (3694, 0, 0, 1101), "val": (461, 460, 139, 139), "test": (2255, 2255, 642, 642)},
    "masktune_fixed": {"train": (3550, 187, 52, 961), "val": (470, 472, 122, 124), "test": (2255, 2264, 581, 583)},
}
"""Images per group (land bird on land, on water, water bird on land, on water) of each published release."""
INFERRED = {"complete95": ("val",), "complete100": ("val",)}
"""Splits whose counts were computed by the generator's rule, not published."""


def group_counts(rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
    """Return the images per group of the three official splits."""
    counts = {split: [0, 0, 0, 0] for split in ("train", "val", "test")}
    for row in rows:
        if row.split in counts:
            counts[row.split][2 * row.label + row.attribute] += 1
    return {split: tuple(values) for split, values in counts.items()}


def notes_on(rows: Sequence[Row], with_masks: bool) -> list[str]:
    """Return what every output has to say about a folder."""
    rows = [row for row in rows if row.split in ("train", "val", "test")]
    notes, found = [], group_counts(rows)
    if any(train == 0 and val > 0 for train, val in zip(found["train"], found["val"], strict=True)):
        notes.append(
            "training lacks groups that validation holds: selecting a checkpoint by validation worst-group accuracy "
            "uses labels of bias-conflicting images"
        )
    mistaken = sum("mislabeled" in row.flags for row in rows)
    if mistaken:
        notes.append(
            f"{mistaken} land birds (Eastern Towhee, Western Meadowlark, Western Wood Pewee) are labelled water bird, "
            "as in the official release; they carry the flag 'mislabeled'"
        )
    without = sum(not row.mask for row in rows) if with_masks else 0
    if without:
        notes.append(f"{without} of {len(rows)} images have no segmentation")
    return notes


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
    """Any folder in the official layout of WaterBirds: 95 %, 100 %, MaskTune's, WILDS', or one of your own.

    Group counts of a known release are recognised exactly (``spec.variant`` is ``complete95``, ``complete100``
    or ``masktune_fixed``); any other folder of the same layout is ``custom``, and ``notes`` say so.

    No release ships masks: they are CUB's, joined by file name. Birds that the official labels get wrong carry the flag
    ``mislabeled`` (``dataset(split).flags``).

    Where ``maskexp data make waterbirds`` wrote them, ``test_split: test_fg`` tests on the birds alone, on grey, and
    ``test_split: test_bg`` on their scenes alone.

    Attributes:
        root: folder with ``metadata.csv`` and the images.
        foreground: segmentations and boxes of CUB.
    """

    foreground: CUBForeground

    name: ClassVar[str] = "waterbirds"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="WaterBirds",
        title="WaterBirds",
        summary="land and water birds of CUB on land and water of Places; 95 %, 100 %, corrected, or your own",
        paper="Sagawa et al., ICLR 2020",
        images="4795 / 1199 / 5794",
        size="≈ 0.5 GB",
        automatic="manual",
        command="maskexp data prepare WaterBirds data/waterbirds --raw waterbird_complete95_forest2water2.tar.gz",
        foreground="CUB's masks or boxes (cub_root); no release has its own",
        get=(
            "https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz; masks: "
            "https://data.caltech.edu/records/w9d68-gec53; then --data.root and --data.cub_root. Any "
            "correlation, with masks: maskexp data make waterbirds"
        ),
        licence="non-commercial research (CUB-200-2011, Places)",
    )
    needed: ClassVar[str] = "metadata.csv"
    folders: ClassVar[tuple[str, ...]] = tuple(FOLDERS)
    listing: ClassVar[str] = "metadata.csv"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = INFERRED
    counted_as: ClassVar[str] = "group counts"

    @classmethod
    def find(
        cls,
        root: str | Path,
        cub_root: str | Path | None = None,
        segmentations: str | Path | None = None,
        bounding_boxes: str | Path | None = None,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder with ``metadata.csv`` and the images, or the folder in which the release lies.
            cub_root: CUB-200-2011, for its ``segmentations`` (in it or beside it) and ``bounding_boxes.txt``.
            segmentations: folder ``<class>/<stem>.png``, if not in ``cub_root`` or ``root/segmentations``.
            bounding_boxes: CUB's file of boxes, if not in ``cub_root``.

        Raises:
            DatasetNotFoundError: if the root, or something that was asked for, is missing.
            DataError: if ``root`` holds more than one release.
        """
        found = cls.locate(root)
        foreground = CUBForeground.find(cls.info.title, cub_root, segmentations, bounding_boxes)
        if foreground.segmentations is None and (found / "segmentations").is_dir():
            foreground = CUBForeground(found / "segmentations", foreground.bounding_boxes)
        return cls(found, foreground)

    @property
    def mask_root(self) -> Path | None:
        """Folder of the segmentations."""
        return self.foreground.segmentations

    def source_paths(self) -> list[Path]:
        """Return the metadata, the folders of the images and the foreground."""
        parts = [self.root / part for part in PARTS]
        return [self.root / "metadata.csv", self.root, *parts, *self.foreground.source_paths()]

    def rows(self) -> list[Row]:
        """Read ``metadata.csv``; the folders ``test_fg`` and ``test_bg`` hold further images of the test birds.

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
                attribute=int(line["place"]),
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
        """Return what CUB's segmentations are, if one of them belongs to an image."""
        if any(row.mask for row in rows):
            return "soft", "segmentations"
        return "none", "" if self.foreground.bounding_boxes is None else "bounding_boxes"

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the group counts of the three releases."""
        return KNOWN_COUNTS

    def release_from_name(self) -> str | None:
        """Return the release whose archive extracts under the name of the folder."""
        return FOLDERS.get(self.root.name)

    def split_counts(self, rows: Sequence[Row]) -> Counts:
        """Return the images of each split and group."""
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
    with opened_text(path) as file:
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
