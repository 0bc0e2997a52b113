"""The base of datamodules whose data lies in files, in the layout of its official download."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

from maskexp.data.loading.datamodule import ImageDataModule
from maskexp.data.loading.pixels import FilePixels, Pixels
from maskexp.data.manifest.layout import Layout, prepare
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import ManifestTable

__all__ = ["FileDataModule"]


class FileDataModule(ImageDataModule):
    """Data in files; a subclass declares its arguments and :meth:`find`.

    ``root`` needs nothing but the official, extracted archive. The manifest is built on first use and kept in the
    cache; nothing is ever written into ``root``.

    Args:
        root: folder of the data.
        cache_dir: where the manifest is kept; ``$MASKEXP_CACHE`` or the user's cache directory if not given.
        **kwargs: see :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or something else that was asked for, is missing.
        DataError: if the files are not as the layout demands.
    """

    def __init__(self, root: str, *, cache_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = str(root)
        self.cache_dir = cache_dir

    @abstractmethod
    def find(self) -> Layout:
        """Look the parts of the data up."""

    @cached_property
    def prepared(self) -> Prepared:
        """Manifest and folders, looked up when first needed."""
        return prepare(self.find(), self.cache_dir)

    def build(self) -> ManifestTable:
        """Return the manifest."""
        return self.prepared.table

    def pixels(self, split: str) -> Pixels:
        """Decode pictures and masks from their files."""
        return FilePixels(
            self.table.split(split), self.foreground, self.prepared.image_root(split), self.prepared.mask_root
        )
