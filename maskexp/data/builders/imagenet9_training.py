"""What ImageNet-9 is trained on: the released archive without its leak, or a new draw from ImageNet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from maskexp.data.builders.folders import pictures, subfolders
from maskexp.data.builders.ilsvrc_boxes import read_ilsvrc_boxes
from maskexp.data.builders.imagenet9_classes import CLASSES, WNIDS
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.hold_out import hold_out
from maskexp.data.manifest.table import Row

__all__ = ["IMAGENET_ID", "ImageNet9Training", "TrainSet", "class_folders"]

TrainSet = Literal["boxed", "l"]
IMAGENET_ID = re.compile(r"n\d{8}_\d+")
PER_CLASS = 5045
"""Training pictures of each class in the released archive."""
HELD_OUT = 0.1
"""Share of a new draw that is held out for validation, if nothing else is said (ours)."""


@dataclass(frozen=True, slots=True)
class ImageNet9Training:
    """Where the training pictures lie, and which of them are taken.

    Attributes:
        root: folder with ``train/<class>`` and possibly ``val/<class>``; of a new draw, ImageNet with ``train/<wnid>``.
        val_fraction: share that is held out; None for the archive's own ``val``.
        val_seed: of that draw.
        train_set: of a new draw, ``boxed`` or ``l``; None for the released archive.
        boxes: ILSVRC's boxes, which ``boxed`` needs.
        train_seed: of the new draw.
    """

    root: Path
    val_fraction: float | None
    val_seed: int
    train_set: TrainSet | None = None
    boxes: Path | None = None
    train_seed: int = 0

    @classmethod
    def archive(cls, root: Path, val_fraction: float | None, val_seed: int) -> Self:
        """Take the released training archive.

        Raises:
            DatasetNotFoundError: if it is not there.
            DataError: if there is nothing to validate on.
        """
        if not (root / "train").is_dir():
            raise DatasetNotFoundError.explained(
                "ImageNet-9's training pictures",
                str(root / "train"),
                "the archives of the backgrounds challenge were offline in 2026; COMET's README links to a copy, and "
                "--data.imagenet_root draws a new training set from ImageNet",
                "--data.train_root",
            )
        if val_fraction is None and not (root / "val").is_dir():
            raise DataError(f"{root} has no val folder; hold pictures out with --data.val_fraction 0.1")
        return cls(root, val_fraction, val_seed)

    @classmethod
    def drawn(
        cls,
        root: Path,
        train_set: TrainSet,
        boxes: Path | None,
        train_seed: int,
        val_fraction: float | None,
        val_seed: int,
    ) -> Self:
        """Draw a training set from ImageNet.

        Raises:
            DatasetNotFoundError: if ImageNet is not there.
            DataError: if there is no such training set, or boxes are needed and not given.
        """
        if train_set not in ("boxed", "l"):
            raise DataError(f"train_set is {train_set!r}; it must be 'boxed' or 'l'")
        if not (root / "train").is_dir():
            raise DatasetNotFoundError.explained(
                "ImageNet", str(root / "train"), "after registration at https://image-net.org", "--data.imagenet_root"
            )
        if train_set == "boxed" and boxes is None:
            raise DataError(
                "train_set 'boxed' takes pictures with exactly one box: say where ILSVRC's boxes lie with "
                "--data.boxes, or take all pictures with --data.train_set l"
            )
        held = HELD_OUT if val_fraction is None else val_fraction
        return cls(root, held, val_seed, train_set, boxes if train_set == "boxed" else None, train_seed)

    def watched(self) -> list[Path]:
        """Return the folders of all pictures, and the boxes."""
        boxes = [] if self.boxes is None else [self.boxes]
        return [self.root / "train", *boxes] if self.train_set else [self.root / "train", self.root / "val"]

    def rows(self, tested: Sequence[Row], classes: Sequence[str]) -> list[Row]:
        """Return the training and validation pictures.

        Args:
            tested: rows of the test variants.
            classes: names in the order of the labels.

        Raises:
            DataError: if a class has no pictures, or boxes are damaged.
        """
        if self.train_set:
            return self._held_out(self._draw(classes))
        leaked = {name for row in tested for name in IMAGENET_ID.findall(row.id)}
        kept = [row for row in self._archived(classes) if leaked.isdisjoint(IMAGENET_ID.findall(row.id))]
        return self._held_out(kept)

    def note(self, rows: Sequence[Row], classes: Sequence[str]) -> str:
        """Say how the training set differs from the released one."""
        counts = Counter(row.split for row in rows)
        taken = counts["train"] + counts["val"]
        if self.train_set:
            return (
                f"training set {self.train_set} drawn anew from ImageNet, {taken // len(classes)} pictures per class "
                f"with seed {self.train_seed}: the released draw cannot be recovered"
            )
        listed = sum(1 for _ in self._archived(classes))
        return f"{listed - taken} of {listed} pictures of the training archive are test pictures and were left out"

    def _held_out(self, rows: list[Row]) -> list[Row]:
        return rows if self.val_fraction is None else hold_out(rows, self.val_fraction, self.val_seed)

    def _archived(self, classes: Sequence[str]) -> Iterator[Row]:
        """Yield the pictures of the released archive, those of its ``val`` only if it validates."""
        for split in ("train", "val") if self.val_fraction is None else ("train",):
            yield from class_folders(self.root, split, classes)

    def _draw(self, classes: Sequence[str]) -> list[Row]:
        """Take as many pictures of each class as the smallest has, ``boxed`` no more than were released.

        They are drawn from the pictures in the order of their names. None of them is a test picture: those come from
        ImageNet's validation set.
        """
        pools = {name: self._pool(name) for name in CLASSES}
        smallest = min(len(pool) for pool in pools.values())
        count = min(smallest, PER_CLASS) if self.train_set == "boxed" else smallest
        rows = []
        for number, (name, pool) in enumerate(pools.items()):
            order = np.random.default_rng([self.train_seed, number]).permutation(len(pool))[:count]
            label = classes.index(name)
            rows += [
                Row(pool[i].stem, "train", label, pool[i].relative_to(self.root).as_posix()) for i in sorted(order)
            ]
        return rows

    def _pool(self, name: str) -> list[Path]:
        """Return ImageNet's training pictures of one class, for ``boxed`` only those with exactly one box."""
        found = []
        for wnid in WNIDS[name]:
            listed = pictures(self.root / "train" / wnid)
            if not listed:
                raise DataError(
                    f"{self.root / 'train' / wnid} has no pictures; ImageNet-9 is made of 370 classes of ImageNet, and "
                    f"{wnid} belongs to {name}"
                )
            found += listed
        if self.boxes is None:
            return found
        annotated = read_ilsvrc_boxes(self.boxes, found)
        boxed = [path for path in found if path.stem in annotated and len(annotated[path.stem].boxes) == 1]
        if not boxed:
            raise DataError(f"{self.boxes} has no picture of {name} with exactly one box; get the boxes of 'train'")
        return boxed


def class_folders(above: Path, split: str, classes: Sequence[str]) -> Iterator[Row]:
    """Yield one row per picture in ``above/split/<class>``.

    Raises:
        DataError: if a folder is none of the nine classes.
    """
    for folder in subfolders(above / split):
        name = folder.name.partition("_")[2]
        if name not in classes:
            raise DataError(f"{folder} is none of ImageNet-9's classes (00_dog to 08_fish); extract it again")
        for path in pictures(folder):
            yield Row(path.stem, split, classes.index(name), path.relative_to(above).as_posix())
