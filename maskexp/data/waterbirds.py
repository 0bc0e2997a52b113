"""WaterBirds (Sagawa et al., ICLR 2020): land and water birds on land and water."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.waterbirds import WaterBirdsLayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["WaterBirds"]


class WaterBirds(FileDataModule):
    """Any folder in the official layout of WaterBirds: 95 %, 100 %, MaskTune's, WILDS', or one of your own.

    Group counts of a known release are recognised exactly (``spec.variant`` is ``complete95``, ``complete100``
    or ``masktune_fixed``); any other folder of the same layout is ``custom``, and ``notes`` say so.

    No release ships masks: they are CUB's, joined by file name. Birds that the official labels get wrong carry the flag
    ``mislabeled`` (``dataset(split).flags``).

    Where ``maskexp data make waterbirds`` wrote them, ``test_split: test_fg`` tests on the birds alone, on grey, and
    ``test_split: test_bg`` on their scenes alone.

    Args:
        root: folder with ``metadata.csv`` and the pictures, or the folder in which the release lies.
        cub_root: CUB-200-2011, for its ``segmentations`` (in it or beside it) and ``bounding_boxes.txt``.
        segmentations: folder ``<class>/<stem>.png``, if not in ``cub_root`` or ``root/segmentations``.
        bounding_boxes: CUB's file of boxes, if not in ``cub_root``.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or something else that was asked for, is missing.
        DataError: if metadata, boxes, pictures or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        cub_root: str | None = None,
        segmentations: str | None = None,
        bounding_boxes: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._places = (cub_root, segmentations, bounding_boxes)

    def find(self) -> WaterBirdsLayout:
        """Look the parts up."""
        return WaterBirdsLayout.find(self.root, *self._places)
