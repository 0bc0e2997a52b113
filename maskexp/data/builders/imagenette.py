"""Imagenette and ImageWoof (fast.ai): from the official folders to a manifest."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from maskexp.data.builders.wordnet import WordNetLayout
from maskexp.data.errors import DataError
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["ImageWoofLayout", "ImagenetteLayout", "LabelNoise"]

LabelNoise = Literal[0, 1, 5, 25, 50]
SIZES = ("", "-320", "-160")
UNSEEN = "ILSVRC2012_val_"
"""How the pictures are called that an ImageNet-pretrained backbone has not been trained on."""


@dataclass(frozen=True, slots=True)
class ImagenetteLayout(WordNetLayout):
    """Where the parts of Imagenette lie.

    Attributes:
        label_noise: percentage of wrong training labels, of those in ``noisy_imagenette.csv``.
    """

    label_noise: LabelNoise

    name: ClassVar[str] = "imagenette"
    title: ClassVar[str] = "Imagenette"
    get_it: ClassVar[str] = (
        "curl -LO https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz && tar xf imagenette2-160.tgz   "
        "(md5 e793b78cc4c9e9a4ccc0c1155377a412; also imagenette2-320.tgz and imagenette2.tgz)"
    )
    folders: ClassVar[tuple[str, ...]] = tuple(f"imagenette2{size}" for size in SIZES)
    known_counts: ClassVar[Mapping[str, Counts]] = {"v2": {"train": (9469,), "test": (3925,)}}
    places: ClassVar[dict[str, str]] = {
        "boxes": "folder of ILSVRC's boxes (XML)",
        "label_noise": "percentage of wrong training labels: 0, 1, 5, 25 or 50",
    }
    wnids: ClassVar[Mapping[str, str]] = {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    }

    @classmethod
    def find(
        cls,
        root: str | Path,
        boxes: str | Path | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        label_noise: LabelNoise = 0,
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.Imagenette`.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if the boxes are not XML files, which alone say in which size a picture was annotated.
        """
        found = cls.locate(root)
        place = None if boxes is None else Path(boxes).expanduser()
        if place is not None and place.is_file():
            raise DataError(
                f"{place} does not say in which size the pictures were annotated; {cls.title} needs the folder of XML "
                "files (ILSVRC2012_bbox_train_v2.tar.gz, ILSVRC2012_bbox_val_v3.tgz)"
            )
        return cls(found, val_fraction, val_seed, place, label_noise)

    @property
    def named(self) -> Mapping[str, str]:
        """Name by WordNet id, in the order of the labels."""
        return self.wnids

    def watched(self) -> list[Path]:
        """Return the folders of all classes, the boxes and the noisy labels."""
        return [*WordNetLayout.watched(self), self._noisy_labels()]

    def rows(self) -> list[Row]:
        """List the pictures; those of ILSVRC's validation set stand in the split ``unseen`` as well.

        Raises:
            DataError: if a class has no pictures, or the noisy labels are missing or damaged.
        """
        rows = WordNetLayout.rows(self)
        if self.label_noise:
            noisy = self._read_noise(self._noisy_labels())
            rows = [row if row.split == "test" else self._relabelled(row, noisy) for row in rows]
        return [*rows, *(replace(row, split="unseen") for row in rows if self._is_unseen(row))]

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say how much of the test split a pretrained backbone has seen, and how many labels are wrong."""
        tested = [row for row in rows if row.split == "test"]
        seen = sum(not self._is_unseen(row) for row in tested)
        notes = [
            *WordNetLayout.notes(self, rows),
            f"{seen} of {len(tested)} test pictures are from ImageNet's training set, which pretrained backbones have "
            "seen; the split 'unseen' has the others",
        ]
        if self.label_noise:
            wrong = sum(row.flags == "noisy" for row in rows)
            notes.append(f"label_noise {self.label_noise}: {wrong} training and validation labels are wrong on purpose")
        return notes

    def _is_unseen(self, row: Row) -> bool:
        return row.split == "test" and row.id.startswith(UNSEEN)

    def _noisy_labels(self) -> Path:
        return self.root / f"noisy_{self.name}.csv"

    def _read_noise(self, path: Path) -> dict[str, str]:
        """Return the WordNet id that each training picture is given."""
        column = f"noisy_labels_{self.label_noise}"
        if not path.is_file():
            raise DataError(f"{path} is missing; label_noise needs the labels that come with the official archive")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"path", column} <= set(reader.fieldnames or ()):
                raise DataError(f"{path} lacks the column {column!r}; it has {', '.join(reader.fieldnames or ())}")
            return {line["path"]: line[column] for line in reader}

    def _relabelled(self, row: Row, noisy: Mapping[str, str]) -> Row:
        """Return the row with the label of the noisy list, flagged where it is wrong."""
        wnid = noisy.get(row.image, "")
        if wnid not in self.named:
            raise DataError(f"{self._noisy_labels()} gives {row.image} the label {wnid!r}; extract the archive again")
        label = list(self.named).index(wnid)
        return row if label == row.label else replace(row, label=label, flags="noisy")


@dataclass(frozen=True, slots=True)
class ImageWoofLayout(ImagenetteLayout):
    """Where the parts of ImageWoof lie."""

    name: ClassVar[str] = "imagewoof"
    title: ClassVar[str] = "ImageWoof"
    get_it: ClassVar[str] = (
        "curl -LO https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz && tar xf imagewoof2-160.tgz   "
        "(no checksum is published; also imagewoof2-320.tgz and imagewoof2.tgz)"
    )
    folders: ClassVar[tuple[str, ...]] = tuple(f"imagewoof2{size}" for size in SIZES)
    known_counts: ClassVar[Mapping[str, Counts]] = {"v2": {"train": (9025,), "test": (3929,)}}
    wnids: ClassVar[Mapping[str, str]] = {
        "n02086240": "Shih-Tzu",
        "n02087394": "Rhodesian ridgeback",
        "n02088364": "beagle",
        "n02089973": "English foxhound",
        "n02093754": "Border terrier",
        "n02096294": "Australian terrier",
        "n02099601": "golden retriever",
        "n02105641": "Old English sheepdog",
        "n02111889": "Samoyed",
        "n02115641": "dingo",
    }
