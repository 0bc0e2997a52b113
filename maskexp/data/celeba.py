"""CelebA (Liu et al., ICCV 2015): faces with 40 binary attributes."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.celeba import CelebALayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["CelebA"]


class CelebA(FileDataModule):
    """Aligned faces; label and spurious factor are two of the 40 attributes, by default those of group_DRO and WILDS.

    Group ids are ``2 * label + attribute``. There is no foreground: the published boxes belong to the pictures that are
    not aligned. group_DRO evaluates a centre crop of 178 pixels.

    Args:
        root: folder with ``img_align_celeba`` and the tables ``list_attr_celeba`` and ``list_eval_partition``, official
            (``.txt``) or Kaggle's (``.csv``); or the folder in which it lies.
        target: attribute that is the label.
        spurious: attribute that is the spurious factor.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` or a table is missing.
        DataError: if tables or pictures are not as the layout demands.
    """

    def __init__(self, root: str, *, target: str = "Blond_Hair", spurious: str = "Male", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (target, spurious)

    def find(self) -> CelebALayout:
        """Look the parts up."""
        return CelebALayout.find(self.root, *self._wishes)
