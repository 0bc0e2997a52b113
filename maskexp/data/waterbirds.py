"""WaterBirds (Sagawa et al., ICLR 2020): land and water birds on land and water."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from maskexp.data.builders.prepared import Prepared
from maskexp.data.builders.waterbirds import prepare_waterbirds
from maskexp.data.builders.waterbirds_sources import WaterBirdsSources
from maskexp.data.datamodule import ImageDataModule
from maskexp.data.manifest import ManifestTable
from maskexp.data.pixels import FilePixels, Pixels

__all__ = ["WaterBirds"]


class WaterBirds(ImageDataModule):
    """Any folder in the official layout of WaterBirds: 95 %, 100 %, MaskTune's, WILDS', or one of your own.

    ``root`` needs nothing but the official, extracted archive. The manifest is built on first use and kept in the
    cache. Group counts of a known release are recognised exactly (``spec.variant`` is ``complete95``, ``complete100``
    or ``masktune_fixed``); any other folder of the same layout is ``custom``, and ``notes`` say so.

    No release ships masks: they are CUB's, joined by file name. Birds that the official labels get wrong carry the flag
    ``mislabeled`` (``dataset(split).flags``).

    Args:
        root: folder with ``metadata.csv`` and the pictures, or the folder in which the release lies.
        cub_root: CUB-200-2011, for its ``segmentations`` (in it or beside it) and ``bounding_boxes.txt``.
        segmentations: folder ``<class>/<stem>.png``, if not in ``cub_root`` or ``root/segmentations``.
        bounding_boxes: CUB's file of boxes, if not in ``cub_root``.
        cache_dir: where the manifest is kept; ``$MASKEXP_CACHE`` or the user's cache directory if not given.
        **kwargs: see :class:`ImageDataModule`.

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
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        root = str(root)
        super().__init__(**kwargs)
        self._find_sources = partial(WaterBirdsSources.find, root, cub_root, segmentations, bounding_boxes)
        self.cache_dir = cache_dir

    @cached_property
    def prepared(self) -> Prepared:
        """Manifest and folders, looked up when first needed."""
        return prepare_waterbirds(self._find_sources(), self.cache_dir)

    def build(self) -> ManifestTable:
        """Return the manifest."""
        return self.prepared.table

    def pixels(self, split: str) -> Pixels:
        """Decode pictures and masks from their files."""
        return FilePixels(self.table.split(split), self.foreground, self.prepared.root, self.prepared.mask_root)
