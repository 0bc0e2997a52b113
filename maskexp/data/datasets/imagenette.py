"""Imagenette and ImageWoof (fast.ai): from the official folders to a manifest."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from maskexp.data.datasets.shared.imagenet import WordNetLayout
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo, Download
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import opened_text
from maskexp.files import expanded

__all__ = ["ImageWoofLayout", "ImagenetteLayout", "LabelNoise"]

LabelNoise = Literal[0, 1, 5, 25, 50]
SIZES = ("", "-320", "-160")
UNSEEN = "ILSVRC2012_val_"
"""How the images are called that an ImageNet-pretrained backbone has not been trained on."""


@dataclass(frozen=True, slots=True)
class ImagenetteLayout(WordNetLayout):
    """Ten easily told classes of ImageNet, in any of the three released sizes.

    The official validation images are ``test``. Most of them are from ImageNet's *training* set: a backbone that was
    pretrained on ImageNet has seen them. ``unseen`` holds those that it has not; ``test_split`` may choose it.

    Attributes:
        label_noise: percentage of wrong training labels, of those in ``noisy_imagenette.csv``.
    """

    label_noise: LabelNoise

    name: ClassVar[str] = "imagenette"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="Imagenette",
        title="Imagenette",
        summary="ten easily told classes of ImageNet; small and public",
        paper="fast.ai, 2019",
        images="9469, a share held out / 3925",
        size="≈ 0.1, 0.3 or 1.6 GB",
        automatic="yes",
        command="maskexp data prepare Imagenette-160 data/imagenette",
        foreground="ILSVRC's boxes (boxes)",
        get="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz (also -320, full size); then --data.root",
        licence="terms of ImageNet",
        downloads={
            "Imagenette": (
                Download(
                    "imagenette2.tgz",
                    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",
                    "fe2fc210e6bb7c5664d602c3cd71e612",
                    "imagenette2",
                ),
            ),
            "Imagenette-320": (
                Download(
                    "imagenette2-320.tgz",
                    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
                    "3df6f0d01a2c9592104656642f5e78a3",
                    "imagenette2-320",
                ),
            ),
            "Imagenette-160": (
                Download(
                    "imagenette2-160.tgz",
                    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
                    "e793b78cc4c9e9a4ccc0c1155377a412",
                    "imagenette2-160",
                ),
            ),
        },
    )
    folders: ClassVar[tuple[str, ...]] = tuple(f"imagenette2{size}" for size in SIZES)
    known_counts: ClassVar[Mapping[str, Counts]] = {"v2": {"train": (9469,), "test": (3925,)}}
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
        """Look the parts up.

        Args:
            root: folder ``imagenette2``, ``imagenette2-320`` or ``imagenette2-160``, or the folder in which it lies.
            boxes: folder of ILSVRC's boxes as XML; they are scaled to the stored size. An image may have several.
            val_fraction: share of the training images that is held out (default: ours), as in CUB.
            val_seed: of that draw.
            label_noise: percentage of wrong labels in training and validation, as the archive lists them.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if the boxes are not XML files, which alone say in which size an image was annotated.
        """
        found = cls.locate(root)
        place = None if boxes is None else expanded(boxes)
        if place is not None and place.is_file():
            raise DataError(
                f"{place} does not say in which size the images were annotated; {cls.info.title} needs the folder of "
                "XML files (ILSVRC2012_bbox_train_v2.tar.gz, ILSVRC2012_bbox_val_v3.tgz)"
            )
        return cls(found, val_fraction, val_seed, place, label_noise)

    @property
    def named(self) -> Mapping[str, str]:
        """Name by WordNet id, in the order of the labels."""
        return self.wnids

    def source_paths(self) -> list[Path]:
        """Return the folders of all classes, the boxes and the noisy labels."""
        return [*WordNetLayout.source_paths(self), self._noisy_labels()]

    def rows(self) -> list[Row]:
        """List the images; those of ILSVRC's validation set stand in the split ``unseen`` as well.

        Raises:
            DataError: if a class has no images, or the noisy labels are missing or damaged.
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
            f"{seen} of {len(tested)} test images are from ImageNet's training set, which pretrained backbones have "
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
        """Return the WordNet id that each training image is given."""
        column = f"noisy_labels_{self.label_noise}"
        if not path.is_file():
            raise DataError(f"{path} is missing; label_noise needs the labels that come with the official archive")
        with opened_text(path) as file:
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
    """Ten breeds of dogs of ImageNet, see :class:`Imagenette`; folders ``imagewoof2``, ``-320`` and ``-160``."""

    name: ClassVar[str] = "imagewoof"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="ImageWoof",
        title="ImageWoof",
        summary="ten breeds of dogs of ImageNet; small and public",
        paper="fast.ai, 2019",
        images="9025, a share held out / 3929",
        size="–",
        automatic="manual",
        command="maskexp data prepare ImageWoof data/imagewoof --raw imagewoof2-160.tgz",
        foreground="ILSVRC's boxes (boxes)",
        get=(
            "https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz (also -320, full size; no "
            "checksum is published); then --data.root"
        ),
        licence="terms of ImageNet",
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
