"""Subsets of ImageNet in ImageNet's own layout: ``{train,val}/<wnid>/*.JPEG``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from maskexp.data.builders.folders import pictures
from maskexp.data.builders.ilsvrc_boxes import read_ilsvrc_boxes, scaled
from maskexp.data.errors import DataError
from maskexp.data.loading.image_files import stored_size
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.prepared import in_parallel
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["WordNetLayout"]

SPLITS = {"train": "train", "val": "test"}
"""The official validation pictures are our test pictures; validation is held out of training."""


@dataclass(frozen=True, slots=True)
class WordNetLayout(HeldOutLayout):
    """Where the parts of a subset of ImageNet lie.

    Attributes:
        root: folder with ``train`` and ``val``.
        boxes: folder or file of ILSVRC's boxes, None where they are not wanted.
        known_counts: counts of the published releases.
    """

    boxes: Path | None

    needed: ClassVar[str] = "val"
    licence: ClassVar[str] = "terms of ImageNet"
    known_counts: ClassVar[Mapping[str, Counts]]
    places: ClassVar[dict[str, str]] = {
        "boxes": "ILSVRC's boxes: folder of XML, LOC_val_solution.csv, localization.txt"
    }

    @property
    @abstractmethod
    def named(self) -> Mapping[str, str]:
        """Name by WordNet id, in the order of the labels."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return tuple(self.named.values())

    def watched(self) -> list[Path]:
        """Return the folders of all classes, and the boxes."""
        folders = [self.root / split / wnid for split in SPLITS for wnid in self.named]
        return folders if self.boxes is None else [*folders, self.boxes]

    def rows(self) -> list[Row]:
        """List the pictures and join their boxes by name.

        Raises:
            DataError: if a class has no pictures, or boxes are damaged.
        """
        rows = [row for folder in SPLITS for row in self._listed(folder)]
        return self.held_out(rows if self.boxes is None else self._boxed(rows, self.boxes))

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that there are boxes, if there are."""
        return "none", "ilsvrc_boxes" if any(row.box for row in rows) else ""

    def known(self) -> Mapping[str, Counts]:
        """Return :attr:`known_counts`."""
        return self.known_counts

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say how many test pictures have boxes."""
        tested = [row for row in rows if row.split == "test"]
        boxed = f"{sum(bool(row.box) for row in tested)} of {len(tested)} test pictures have boxes"
        return (*HeldOutLayout.notes(self, rows), *([] if self.boxes is None else [boxed]))

    def _listed(self, folder: str) -> Iterator[Row]:
        """Yield one row per picture in ``root/folder/<wnid>``."""
        for label, wnid in enumerate(self.named):
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
