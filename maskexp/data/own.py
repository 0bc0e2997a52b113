"""A user's own data as a datamodule."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from maskexp.data.builders.own import prepare_own
from maskexp.data.loading.datamodule import ImageDataModule
from maskexp.data.loading.pixels import FilePixels, Pixels
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import ManifestTable

__all__ = ["Manifest"]


class Manifest(ImageDataModule):
    """Your own images: a CSV, an image folder, or a prepared manifest.

    - ``csv``: one line per image. Columns ``image`` (path), ``label`` (name or index), and if you have them
      ``attribute`` (name or index of the spurious factor), ``split`` (train, val, test), ``mask`` (path),
      ``x0 y0 x1 y1`` (box in pixels, half-open), ``id``. Without ``split``, 70/15/15 % by a hash of the path.
    - ``root`` alone: ``manifest.csv`` (yours, or prepared with a ``dataset.json``) if it is there, else
      ``root/{train,val,test}/<class>/*``, with masks in ``root/masks/{train,val,test}/<class>/<stem>.png``.

    Args:
        root: folder of the images; paths in ``csv`` are relative to it (to the CSV's own folder if not given).
        csv: the CSV.
        masks: folder of the masks of an image folder.
        columns: names of columns that are called otherwise, e.g. ``{"label": "species"}``.
        classes: names of the labels in order; found in the data if not given.
        attributes: names of the attribute's values in order; found in the data if not given.
        cache_dir: where decoded pictures are kept with ``cache: memmap``; ``$MASKEXP_CACHE`` or the user's cache
            directory if not given.
        **kwargs: see :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if folder or CSV are missing.
        DataError: if they cannot be understood.
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        csv: str | None = None,
        masks: str | None = None,
        columns: dict[str, str] | None = None,
        classes: list[str] | None = None,
        attributes: list[str] | None = None,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        root, csv, masks = (None if path is None else str(path) for path in (root, csv, masks))
        super().__init__(**kwargs)
        self.cache_dir = cache_dir
        self._prepare = partial(prepare_own, root, csv, masks, columns, classes, attributes)

    @cached_property
    def prepared(self) -> Prepared:
        """Manifest and folders, looked up when first needed."""
        return self._prepare()

    def build(self) -> ManifestTable:
        """Return the manifest."""
        return self.prepared.table

    def pixels(self, split: str) -> Pixels:
        """Decode pictures and masks from their files."""
        return FilePixels(self.table.split(split), self.foreground, self.prepared.root, self.prepared.mask_root)
