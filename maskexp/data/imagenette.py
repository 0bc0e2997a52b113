"""Imagenette and ImageWoof (fast.ai): ten easy and ten hard classes of ImageNet."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.imagenette import ImagenetteLayout, ImageWoofLayout, LabelNoise
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["ImageWoof", "Imagenette"]


class Imagenette(FileDataModule):
    """Ten easily told classes of ImageNet, in any of the three released sizes.

    The official validation pictures are ``test``. Most of them are from ImageNet's *training* set: a backbone that was
    pretrained on ImageNet has seen them. ``unseen`` holds those that it has not; ``test_split`` may choose it.

    Args:
        root: folder ``imagenette2``, ``imagenette2-320`` or ``imagenette2-160``, or the folder in which it lies.
        boxes: folder of ILSVRC's boxes as XML; they are scaled to the stored size. A picture may have several.
        val_fraction: share of the training pictures that is held out (default: ours), see :class:`~maskexp.data.CUB`.
        val_seed: of that draw.
        label_noise: percentage of wrong labels in training and validation, as the archive lists them.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` or ``boxes`` are missing.
        DataError: if folders, boxes or pictures are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        boxes: str | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        label_noise: LabelNoise = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (boxes, val_fraction, val_seed, label_noise)

    def find(self) -> ImagenetteLayout:
        """Look the parts up."""
        return ImagenetteLayout.find(self.root, *self._wishes)


class ImageWoof(Imagenette):
    """Ten breeds of dogs of ImageNet, see :class:`Imagenette`; folders ``imagewoof2``, ``-320`` and ``-160``."""

    def find(self) -> ImageWoofLayout:
        """Look the parts up."""
        return ImageWoofLayout.find(self.root, *self._wishes)
