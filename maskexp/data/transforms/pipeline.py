"""What a data set does to pixels in training and in evaluation: the two transforms, with image size and seed."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from torchvision.transforms import v2

from maskexp.data.errors import DataError
from maskexp.data.transforms.geometry import EvalTransform, TrainTransform
from maskexp.data.transforms.photometry import jitter
from maskexp.data.transforms.stored import described
from maskexp.data.transforms.torchvision_v2 import BatchMixing, ImageAndMask
from maskexp.types import Batch

__all__ = ["Pipeline"]


class Pipeline:
    """The transforms of one data set.

    Args:
        image_size: side in pixels of the squares that result.
        seed: first part of the key of every draw, at least 0.
        train: of training. A torchvision transform takes the place of crop, flip and colours; if it leaves another
            size, ``evaluation`` follows.
        evaluation: of evaluation. A torchvision transform has to leave squares of ``image_size``.

    Raises:
        DataError: if a transform does something else than what it was given for.
    """

    def __init__(
        self,
        image_size: int,
        seed: int = 0,
        train: TrainTransform | v2.Transform | None = None,
        evaluation: EvalTransform | v2.Transform | None = None,
    ) -> None:
        self.image_size, self.seed = image_size, seed
        self.train = TrainTransform() if train is None else train
        self.evaluation = EvalTransform() if evaluation is None else evaluation
        self._evaluation = _with_mask(self.evaluation, "eval_transform")
        self._instead = _with_mask(self.train, "train_transform")
        self._further, self._mix = None, None
        if isinstance(self.train, TrainTransform):
            if self.train.transforms:
                self._further = _with_mask(v2.Compose(self.train.transforms), "train_transform.transforms")
            if self.train.mix is not None:
                self._mix = BatchMixing(self.train.mix)

    @property
    def custom(self) -> tuple[str, ...]:
        """Stages, ``train`` or ``eval``, whose samples go through a user's transform."""
        train = self._instead or self._further or type(self.train) is not TrainTransform
        evaluation = self._evaluation or type(self.evaluation) is not EvalTransform
        return tuple(name for name, there in (("train", train), ("eval", evaluation)) if there)

    @property
    def soft_labels(self) -> bool:
        """Whether training makes labels soft."""
        return self._mix is not None

    @property
    def evaluation_key(self) -> dict[str, Any]:
        """What decides over the pixels of evaluation, plain types: part of the address of their cache."""
        if isinstance(self.evaluation, EvalTransform) and "eval" not in self.custom:
            how = {"resize": self.evaluation.resize, "crop_fraction": self.evaluation.crop_fraction}
            return {"name": "EvaluationGeometry", "image_size": self.image_size, **how}
        return {"name": "custom", "image_size": self.image_size, "transform": described(self.evaluation)}

    def evaluate(self, pixels: Tensor) -> Tensor:
        """Return uint8 ``(C, S, S)`` of uint8 ``(C, H, W)``: the same each time.

        Raises:
            DataError: if a custom transform leaves another size.
        """
        if isinstance(self.evaluation, EvalTransform):
            moved = self.evaluation(pixels, self.image_size)
        else:
            moved = cast(ImageAndMask, self._evaluation)(pixels, (0, 0, 0))
        return self._sized(moved, "eval_transform")

    def augment(self, pixels: Tensor, epoch: int, index: int) -> Tensor:
        """Return uint8 ``(C, S, S)``, the augmentation of sample ``index`` in ``epoch``: a function of these alone.

        Raises:
            DataError: if a custom transform leaves another size.
        """
        key = (self.seed, epoch, index)
        if not isinstance(self.train, TrainTransform):
            moved = cast(ImageAndMask, self._instead)(pixels, key)
            return moved if self._fits(moved) else self.evaluate(moved)
        moved = self.train(pixels, self.image_size, key, self.evaluate)
        if self._further is not None:
            moved = self._further(moved, key)
        return self._sized(moved, "train_transform")

    def check_mixing(self, num_classes: int) -> None:
        """Refuse a mixing of batches that was made for another number of classes.

        Raises:
            DataError: if it was.
        """
        if self._mix is not None:
            self._mix.check(num_classes)

    def on_batch(self, batch: Batch, epoch: int, num_classes: int) -> Batch:
        """Change the colours of a training batch, float in [0, 1], on its device, and mix it."""
        if isinstance(self.train, TrainTransform):
            batch = {**batch, "image": jitter(batch["image"], self.train.photometric)}
        if self._mix is None:
            return batch
        return self._mix(batch, num_classes, (self.seed, epoch, int(batch["index"][0])))

    def _fits(self, pixels: Tensor) -> bool:
        return tuple(pixels.shape[1:]) == (self.image_size, self.image_size)

    def _sized(self, pixels: Tensor, role: str) -> Tensor:
        if not self._fits(pixels):
            raise DataError(
                f"{role} leaves {pixels.shape[2]}x{pixels.shape[1]} pixels, but image_size is {self.image_size}; let "
                f"it end with torchvision.transforms.v2.Resize or CenterCrop to [{self.image_size}, {self.image_size}]"
            )
        return pixels


def _with_mask(transform: Any, role: str) -> ImageAndMask | None:
    return ImageAndMask(transform, role) if isinstance(transform, v2.Transform) else None
