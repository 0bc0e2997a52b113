"""ImageNet-9 (Xiao et al., ICLR 2021): from the backgrounds challenge and training pictures to a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from maskexp.data.builders.imagenet9_classes import CLASSES, COMET_CLASSES
from maskexp.data.builders.imagenet9_training import IMAGENET_ID, ImageNet9Training, TrainSet, class_folders
from maskexp.data.errors import DataError
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["ImageNet9Layout", "LabelOrder"]

LabelOrder = Literal["official", "comet"]
VARIANTS = (*("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t"),)
MASKED = tuple(name for name in VARIANTS if not name.startswith("only_bg"))
"""Variants of the pictures that the masks belong to."""
KNOWN_COUNTS = {"official": dict.fromkeys(VARIANTS, (4050,))}


@dataclass(frozen=True, slots=True)
class ImageNet9Layout(Layout):
    """Where the parts of ImageNet-9 lie.

    Attributes:
        root: folder ``bg_challenge`` with the eight test variants and ``fg_mask``.
        training: what is trained on, None where there is nothing.
        label_order: order of the classes.
    """

    training: ImageNet9Training | None
    label_order: LabelOrder

    name: ClassVar[str] = "imagenet9"
    title: ClassVar[str] = "ImageNet-9"
    get_it: ClassVar[str] = (
        "curl -LO https://github.com/MadryLab/backgrounds_challenge/releases/download/data/"
        "backgrounds_challenge_data.tar.gz && tar xf backgrounds_challenge_data.tar.gz   (terms of ImageNet)"
    )
    needed: ClassVar[str] = "original/val"
    folders: ClassVar[tuple[str, ...]] = ("bg_challenge",)
    licence: ClassVar[str] = "terms of ImageNet"
    places: ClassVar[dict[str, str]] = {
        "train_root": "training archive, a folder with train/<class> (and val/<class>)",
        "imagenet_root": "ImageNet with train/<wnid>, to draw a training set from",
        "train_set": "what to draw: boxed (exactly one box) or l (all pictures)",
        "boxes": "ILSVRC's boxes of the training pictures: folder of XML, or LOC_train_solution.csv",
        "train_seed": "seed of the drawn training set",
        "label_order": "official or comet",
    }

    @classmethod
    def find(
        cls,
        root: str | Path,
        train_root: str | Path | None = None,
        imagenet_root: str | Path | None = None,
        train_set: TrainSet = "boxed",
        boxes: str | Path | None = None,
        train_seed: int = 0,
        val_fraction: float | None = None,
        val_seed: int = 0,
        label_order: LabelOrder = "official",
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.ImageNet9`.

        Raises:
            DatasetNotFoundError: if the root, or the training pictures that were asked for, are missing.
            DataError: if there is nothing to validate on, or no such label order.
        """
        found = cls.locate(root)
        if val_fraction == 0:
            raise DataError("val_fraction is 0; ImageNet-9 must be validated on training pictures, e.g. a share of 0.1")
        if label_order not in ("official", "comet"):
            raise DataError(f"label_order is {label_order!r}; it must be 'official' or 'comet'")
        if train_root is not None and imagenet_root is not None:
            raise DataError("both train_root and imagenet_root are given; train on the one or on a draw from the other")
        archive, imagenet, boxed = (
            None if path is None else Path(path).expanduser() for path in (train_root, imagenet_root, boxes)
        )
        training = None
        if archive is not None:
            training = ImageNet9Training.archive(archive, val_fraction, val_seed)
        elif imagenet is not None:
            training = ImageNet9Training.drawn(imagenet, train_set, boxed, train_seed, val_fraction, val_seed)
        return cls(found, training, label_order)

    @property
    def mask_root(self) -> Path | None:
        """Folder to which the masks' paths are relative."""
        return self.root if (self.root / "fg_mask").is_dir() else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the wanted order."""
        return COMET_CLASSES if self.label_order == "comet" else CLASSES

    def image_root(self, split: str) -> Path:
        """Return the folder of the training pictures for their splits, else that of the test variants."""
        return self.training.root if self.training is not None and split in ("train", "val") else self.root

    def watched(self) -> list[Path]:
        """Return the folders of all classes."""
        tested = [self.root / f"{name}/val" for name in (*VARIANTS, "fg_mask")]
        return tested if self.training is None else [*tested, *self.training.watched()]

    def rows(self) -> list[Row]:
        """List the test variants, and training pictures that are in none of them.

        Raises:
            DataError: if a class folder has another name, or training pictures are missing.
        """
        tested = [row for variant in VARIANTS for row in self._variant(variant)]
        classes = {_foreground(row).split("_")[0]: self.classes[row.label] for row in tested}
        tested = [replace(row, env=_background(row, classes)) for row in tested]
        return tested if self.training is None else [*tested, *self.training.rows(tested, self.classes)]

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what the masks of the test variants are."""
        return ("none", "") if self.mask_root is None else ("binary", "fg_mask")

    def known(self) -> Mapping[str, Counts]:
        """Return the sizes of the test variants."""
        return KNOWN_COUNTS

    def counted(self, rows: Sequence[Row]) -> Counts:
        """Return the pictures of each test variant that is there."""
        counts = Counter(row.split for row in rows)
        return {variant: (counts[variant],) for variant in VARIANTS if counts[variant]}

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say what is trained on, and whose order the labels have."""
        notes = [] if self.training is None else [self.training.note(rows, self.classes)]
        if self.label_order == "comet":
            notes.append("labels are in the order of COMET's released code, not the official one")
        return notes

    def _variant(self, variant: str) -> Iterator[Row]:
        """Yield the pictures of one test variant, with the masks of their foreground."""
        masks = {path.name for path in self.root.glob("fg_mask/val/*/*.npy")} if variant in MASKED else set()
        for row in class_folders(self.root / variant, "val", self.classes):
            image = Path(row.image)
            mask = f"{_foreground(row)}.npy"
            yield replace(
                row,
                split=variant,
                image=f"{variant}/{row.image}",
                mask=f"fg_mask/val/{image.parent.name}/{mask}" if mask in masks else "",
                pair_id=_foreground(row),
            )


def _foreground(row: Row) -> str:
    """Return ImageNet's name of the picture that the foreground is from; the whole id where it has another form."""
    names = IMAGENET_ID.findall(row.id)
    return names[0] if names else row.id


def _background(row: Row, classes: Mapping[str, str]) -> str:
    """Return the class of the background of a mixed picture; empty for others, and where the class is not known.

    Args:
        row: of any variant.
        classes: class of each WordNet id that is somewhere in the foreground.
    """
    names = IMAGENET_ID.findall(row.id)
    return classes.get(names[1].split("_")[0], "") if len(names) > 1 else ""
