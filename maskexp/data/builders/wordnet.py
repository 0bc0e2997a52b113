"""Subsets of ImageNet in ImageNet's own layout: ``{train,val}/<wnid>/*.JPEG``."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from maskexp.data.builders.folders import pictures
from maskexp.data.builders.hold_out import VALIDATED_ON_TEST, hold_out
from maskexp.data.builders.ilsvrc_boxes import read_ilsvrc_boxes, scaled
from maskexp.data.builders.layout import Layout
from maskexp.data.builders.prepared import in_parallel
from maskexp.data.builders.releases import Counts, recognise, totals
from maskexp.data.errors import DataError
from maskexp.data.image_files import stored_size
from maskexp.data.manifest import Card, Row

__all__ = ["WordNetLayout"]

SPLITS = {"train": "train", "val": "test"}
"""The official validation pictures are our test pictures; validation is held out of training."""


@dataclass(frozen=True, slots=True)
class WordNetLayout(Layout):
    """Where the parts of a subset of ImageNet lie.

    Attributes:
        root: folder with ``train`` and ``val``.
        boxes: folder or file of ILSVRC's boxes, None where they are not wanted.
        val_fraction: share of the training pictures that is held out.
        val_seed: of that draw.
        known_counts: counts of the published releases.
    """

    boxes: Path | None
    val_fraction: float
    val_seed: int

    needed: ClassVar[str] = "val"
    known_counts: ClassVar[Mapping[str, Counts]]
    places: ClassVar[dict[str, str]] = {
        "boxes": "ILSVRC's boxes: folder of XML, LOC_val_solution.csv, localization.txt"
    }

    @property
    @abstractmethod
    def classes(self) -> Mapping[str, str]:
        """Name by WordNet id, in the order of the labels."""

    def watched(self) -> list[Path]:
        """Return the folders of all classes, and the boxes."""
        folders = [self.root / split / wnid for split in SPLITS for wnid in self.classes]
        return folders if self.boxes is None else [*folders, self.boxes]

    def rows(self) -> list[Row]:
        """List the pictures and join their boxes by name.

        Raises:
            DataError: if a class has no pictures, or boxes are damaged.
        """
        rows = [row for folder in SPLITS for row in self._listed(folder)]
        return hold_out(rows if self.boxes is None else self._boxed(rows, self.boxes), self.val_fraction, self.val_seed)

    def card(self, rows: list[Row]) -> Card:
        """Describe the release."""
        held = ("train", "val") if self.val_fraction else ("train",)
        found = totals(Counter(row.split for row in rows), train=held, test=("test",))
        variant, notes = recognise(self.title, found, self.known_counts)
        if not self.val_fraction:
            notes.append(VALIDATED_ON_TEST)
        boxed = Counter(row.split for row in rows if row.box)
        if self.boxes is not None:
            notes.append(f"{boxed['test']} of {found['test'][0]} test pictures have boxes")
        return Card(
            name=self.name,
            variant=variant,
            classes=tuple(self.classes.values()),
            mask_source="ilsvrc_boxes" if boxed else "",
            licence="terms of ImageNet",
            notes=(*notes, *self.further_notes(rows)),
            builder={"name": self.name, "version": self.version},
        )

    def further_notes(self, rows: list[Row]) -> list[str]:
        """Return what else every output has to say."""
        return []

    def _listed(self, folder: str) -> Iterator[Row]:
        """Yield one row per picture in ``root/folder/<wnid>``."""
        for label, wnid in enumerate(self.classes):
            place = self.root / folder / wnid
            found = pictures(place)
            if not found:
                raise DataError(
                    f"{place} has no pictures; {self.title} needs {{train,val}}/<wnid>/, so sort the pictures into "
                    "folders by class, or extract the archive again"
                )
            for path in found:
                yield Row(path.stem, SPLITS[folder], label, path.relative_to(self.root).as_posix())

    def _boxed(self, rows: list[Row], boxes: Path) -> list[Row]:
        """Join the boxes, in the pixels of the stored pictures."""
        annotations = read_ilsvrc_boxes(boxes, [self.root / row.image for row in rows])

        def joined(row: Row) -> Row:
            annotation = annotations.get(row.id)
            if annotation is None:
                return row
            size = stored_size(self.root / row.image) if annotation.size else (0, 0)
            first, *more = scaled(annotation, size)
            return replace(row, box=first, more_boxes=tuple(more))

        return in_parallel(joined, rows)
