"""ImageNet-9 (Xiao et al., ICLR 2021): from the backgrounds challenge and a training archive to a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from maskexp.data.builders.folders import pictures, subfolders
from maskexp.data.builders.hold_out import hold_out
from maskexp.data.builders.layout import Layout
from maskexp.data.builders.releases import recognise
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest import Card, Row

__all__ = ["CLASSES", "COMET_CLASSES", "COMET_TO_OFFICIAL", "ImageNet9Layout", "LabelOrder"]

LabelOrder = Literal["official", "comet"]
CLASSES = (
    *("dog", "bird", "wheeled vehicle", "reptile", "carnivore", "insect", "musical instrument", "primate", "fish"),
)
"""Names in the official order: that of the folders ``00_dog`` to ``08_fish``."""
COMET_CLASSES = (
    *("musical instrument", "dog", "fish", "bird", "carnivore", "wheeled vehicle", "primate", "insect", "reptile"),
)
"""Names in the order of COMET's released code, which took the order of a directory listing."""
COMET_TO_OFFICIAL = tuple(CLASSES.index(name) for name in COMET_CLASSES)
"""Official label of each label of a COMET checkpoint."""
VARIANTS = (*("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t"),)
MASKED = tuple(name for name in VARIANTS if not name.startswith("only_bg"))
"""Variants of the pictures that the masks belong to."""
KNOWN_COUNTS = {"official": dict.fromkeys(VARIANTS, (4050,))}
IMAGENET_ID = re.compile(r"n\d{8}_\d+")


@dataclass(frozen=True, slots=True)
class ImageNet9Layout(Layout):
    """Where the parts of ImageNet-9 lie.

    Attributes:
        root: folder ``bg_challenge`` with the eight test variants and ``fg_mask``.
        train_root: folder with ``train/<class>`` and possibly ``val/<class>``, None where there is nothing to train on.
        val_fraction: share of the training pictures that is held out; None for the archive's own ``val``.
        val_seed: of that draw.
        label_order: order of the classes.
    """

    train_root: Path | None
    val_fraction: float | None
    val_seed: int
    label_order: LabelOrder

    name: ClassVar[str] = "imagenet9"
    title: ClassVar[str] = "ImageNet-9"
    get_it: ClassVar[str] = (
        "curl -LO https://github.com/MadryLab/backgrounds_challenge/releases/download/data/"
        "backgrounds_challenge_data.tar.gz && tar xf backgrounds_challenge_data.tar.gz   (terms of ImageNet)"
    )
    needed: ClassVar[str] = "original/val"
    folders: ClassVar[tuple[str, ...]] = ("bg_challenge",)
    places: ClassVar[dict[str, str]] = {"train_root": "folder with train/<class> (and val/<class>)"}

    @classmethod
    def find(
        cls,
        root: str | Path,
        train_root: str | Path | None = None,
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
        trained = None if train_root is None else Path(train_root).expanduser()
        if trained is not None and not (trained / "train").is_dir():
            raise DatasetNotFoundError.explained(
                "ImageNet-9's training pictures",
                str(trained / "train"),
                "the archives of the backgrounds challenge were offline in 2026; COMET's README links to a copy",
                "--data.train_root",
            )
        if trained is not None and val_fraction is None and not (trained / "val").is_dir():
            raise DataError(f"{trained} has no val folder; hold pictures out with --data.val_fraction 0.1")
        if val_fraction == 0:
            raise DataError("val_fraction is 0; ImageNet-9 must be validated on training pictures, e.g. a share of 0.1")
        if label_order not in ("official", "comet"):
            raise DataError(f"label_order is {label_order!r}; it must be 'official' or 'comet'")
        return cls(found, trained, val_fraction, val_seed, label_order)

    @property
    def mask_root(self) -> Path | None:
        """Folder to which the masks' paths are relative."""
        return self.root if (self.root / "fg_mask").is_dir() else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the wanted order."""
        return COMET_CLASSES if self.label_order == "comet" else CLASSES

    def image_root(self, split: str) -> Path:
        """Return the folder of the training archive for its splits, else that of the test variants."""
        return self.train_root if self.train_root is not None and split in ("train", "val") else self.root

    def watched(self) -> list[Path]:
        """Return the folders of all classes."""
        trained = [] if self.train_root is None else [self.train_root / "train", self.train_root / "val"]
        return [*(self.root / f"{name}/val" for name in (*VARIANTS, "fg_mask")), *trained]

    def rows(self) -> list[Row]:
        """List the test variants, and the training pictures that are in none of them.

        Raises:
            DataError: if a class folder has another name.
        """
        tested = [row for variant in VARIANTS for row in self._variant(variant)]
        classes = {_foreground(row).split("_")[0]: self.classes[row.label] for row in tested}
        tested = [replace(row, env=_background(row, classes)) for row in tested]
        return [*tested, *self._training(tested)]

    def card(self, rows: list[Row]) -> Card:
        """Describe the release."""
        counts = Counter(row.split for row in rows)
        found = {variant: (counts[variant],) for variant in VARIANTS if counts[variant]}
        variant, notes = recognise(self.title, found, KNOWN_COUNTS)
        if self.train_root is not None:
            listed = sum(1 for _ in self._listed("train", self.train_root)) + sum(
                1 for _ in self._listed("val", self.train_root) if self.val_fraction is None
            )
            dropped = listed - counts["train"] - counts["val"]
            notes.append(f"{dropped} of {listed} pictures of the training archive are test pictures and were left out")
        if self.label_order == "comet":
            notes.append("labels are in the order of COMET's released code, not the official one")
        return Card(
            name=self.name,
            variant=variant,
            classes=self.classes,
            mask_kind="none" if self.mask_root is None else "binary",
            mask_source="" if self.mask_root is None else "fg_mask",
            licence="terms of ImageNet",
            notes=tuple(notes),
            builder={"name": self.name, "version": self.version},
        )

    def _variant(self, variant: str) -> Iterator[Row]:
        """Yield the pictures of one test variant, with the masks of their foreground."""
        masks = {path.name for path in self.root.glob("fg_mask/val/*/*.npy")} if variant in MASKED else set()
        for row in self._listed("val", self.root / variant):
            image = Path(row.image)
            mask = f"{_foreground(row)}.npy"
            yield replace(
                row,
                split=variant,
                image=f"{variant}/{row.image}",
                mask=f"fg_mask/val/{image.parent.name}/{mask}" if mask in masks else "",
                pair_id=_foreground(row),
            )

    def _training(self, tested: Sequence[Row]) -> list[Row]:
        """Return the rows of the training archive without those that show a picture of the test variants."""
        if self.train_root is None:
            return []
        leaked = {name for row in tested for name in IMAGENET_ID.findall(row.id)}
        names = ("train", "val") if self.val_fraction is None else ("train",)
        rows = [row for name in names for row in self._listed(name, self.train_root)]
        kept = [row for row in rows if leaked.isdisjoint(IMAGENET_ID.findall(row.id))]
        return kept if self.val_fraction is None else hold_out(kept, self.val_fraction, self.val_seed)

    def _listed(self, split: str, above: Path) -> Iterator[Row]:
        """Yield one row per picture in ``above/split/<class>``."""
        for folder in subfolders(above / split):
            name = folder.name.partition("_")[2]
            if name not in CLASSES:
                raise DataError(f"{folder} is none of ImageNet-9's classes (00_dog to 08_fish); extract it again")
            for path in pictures(folder):
                yield Row(path.stem, split, self.classes.index(name), path.relative_to(above).as_posix())


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
