"""CUB-200-2011 (Wah et al., Caltech technical report, 2011): 200 species of birds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskexp.data.builders.cub import CUBLayout
from maskexp.data.builders.cub_annotations import read_attribute_labels, read_part_locations
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["CUB"]


class CUB(FileDataModule):
    """CUB-200-2011 with segmentations (soft) and boxes.

    The official test split stays the test split. There is no official validation set: a share of the training pictures
    is held out by seed, stratified by class. There are no groups.

    Args:
        root: folder ``CUB_200_2011``, or the folder in which it lies.
        segmentations: folder ``<class>/<stem>.png``, if not in ``root`` or beside it.
        val_fraction: share of the training pictures that is held out, ``round(val_fraction * n)`` of each class
            (default: the share that group_DRO and Concept Bottleneck Models hold out; the draw is ours). 0 trains on
            all and validates on the test split.
        val_seed: of that draw; apart from ``seed``, so that all runs share one validation set.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or segmentations that were asked for, are missing.
        DataError: if tables, boxes, pictures or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        segmentations: str | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (segmentations, val_fraction, val_seed)

    def find(self) -> CUBLayout:
        """Look the parts up."""
        return CUBLayout.find(self.root, *self._wishes)

    def attribute_labels(self, split: str) -> NDArray[np.bool_]:
        """Return ``(N, 312)``: which attributes each picture of a split shows, see :func:`read_attribute_labels`."""
        return read_attribute_labels(self.prepared.root, self.dataset(split).ids.tolist())

    def part_locations(self, split: str) -> NDArray[np.float64]:
        """Return ``(N, 15, 3)``: x, y and visibility of the parts, see :func:`read_part_locations`."""
        return read_part_locations(self.prepared.root, self.dataset(split).ids.tolist())
