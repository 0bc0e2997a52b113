"""ImageNet-9 and its backgrounds challenge (Xiao et al., Noise or Signal, ICLR 2021)."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.imagenet9 import ImageNet9Layout, LabelOrder
from maskexp.data.builders.imagenet9_training import TrainSet
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["ImageNet9"]


class ImageNet9(FileDataModule):
    """Nine coarse classes of ImageNet, tested with foreground and background kept, removed and exchanged.

    Splits ``original``, ``mixed_same``, ``mixed_rand``, ``mixed_next``, ``only_fg``, ``no_fg``, ``only_bg_b`` and
    ``only_bg_t``; ``test_split`` chooses one. BG-Gap is ``acc`` on ``mixed_same`` minus ``acc`` on ``mixed_rand``. The
    masks belong to all variants but ``only_bg_*``.

    The archive's own validation pictures are partly test pictures (1,712 of 4,185): every picture of the training
    archive that is in the test variants, by its ImageNet name, is left out. Where the archive cannot be had, a training
    set is drawn anew from ImageNet's training pictures, none of which is a test picture: ``boxed`` as the paper
    describes its own (exactly one annotated box, 5,045 pictures per class or as many as the smallest class has), ``l``
    without regard to boxes (IN-9L; that it is balanced is inferred).

    Args:
        root: folder ``bg_challenge``, or the folder in which it lies.
        train_root: folder with ``train/<class>`` and possibly ``val/<class>``; not needed for testing.
        imagenet_root: ImageNet with ``train/<wnid>``, to draw a training set from, instead of ``train_root``.
        train_set: which one to draw, ``boxed`` or ``l``.
        boxes: ILSVRC's boxes for ``boxed``, see :class:`~maskexp.data.ImageNet100`.
        train_seed: of that draw.
        val_fraction: share of the training pictures that is held out for validation; if not given, the archive's
            own ``val`` without the test pictures, or a tenth of a new draw (ours).
        val_seed: of the pictures held out.
        label_order: ``official`` or, for checkpoints of COMET's released code, ``comet``.
        test_split: the variant that takes the part of ``test``.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or something else that was asked for, is missing.
        DataError: if folders, pictures or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        train_root: str | None = None,
        imagenet_root: str | None = None,
        train_set: TrainSet = "boxed",
        boxes: str | None = None,
        train_seed: int = 0,
        val_fraction: float | None = None,
        val_seed: int = 0,
        label_order: LabelOrder = "official",
        test_split: str = "original",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, test_split=test_split, **kwargs)
        self._training = (train_root, imagenet_root, train_set, boxes, train_seed, val_fraction, val_seed)
        self.label_order: LabelOrder = label_order

    def find(self) -> ImageNet9Layout:
        """Look the parts up."""
        return ImageNet9Layout.find(self.root, *self._training, label_order=self.label_order)
