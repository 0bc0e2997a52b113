"""Where pixels go: resizing, cropping, flipping, on image and foreground at once.

Both geometries take uint8 ``(C, H, W)`` with the foreground as a soft fourth channel behind RGB, so that one resampling
moves both and nothing can slip by half a pixel. Four channels are as fast as three; five are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

__all__ = ["EvaluationGeometry", "Resize", "ShortSide", "TrainingGeometry"]

Resize = Literal["square", "center_crop"]


@dataclass(frozen=True, slots=True)
class EvaluationGeometry:
    """The fixed geometry of evaluation: resize, then keep the centre.

    Attributes:
        image_size: side in pixels of the square that results.
        resize: ``square`` resizes both sides to the same length, which distorts the aspect (released code of group_DRO
            and GALS); ``center_crop`` keeps the aspect and crops the longer side.
        crop_fraction: share of the resized side that the centre crop keeps; 1 keeps all of it. group_DRO resizes to
            256 and keeps 224: 0.875.
    """

    image_size: int
    resize: Resize = "square"
    crop_fraction: float = 1.0

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return uint8 ``(C, image_size, image_size)`` of uint8 ``(C, H, W)``."""
        side = round(self.image_size / self.crop_fraction)
        size = [side, side] if self.resize == "square" else [side]
        pixels = F.resize(pixels, size, antialias=True)
        cropped: Tensor = F.center_crop(pixels, [self.image_size, self.image_size])
        return cropped

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of what becomes of a picture of that size."""
        return self.image_size, self.image_size


@dataclass(frozen=True, slots=True)
class ShortSide:
    """Shrink a picture until its short side has ``limit`` pixels; a smaller one stays as it is, none is cropped.

    Attributes:
        limit: pixels.
    """

    limit: int

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return uint8 ``(C, h, w)`` of uint8 ``(C, H, W)``."""
        if not self.shrinks(*pixels.shape[-2:]):
            return pixels
        shrunk: Tensor = F.resize(pixels, [self.limit], antialias=True)
        return shrunk

    def shrinks(self, height: int, width: int) -> bool:
        """Return whether a picture of that size is changed."""
        return min(height, width) > self.limit

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of what becomes of a picture of that size."""
        if not self.shrinks(height, width):
            return height, width
        long = int(self.limit * max(height, width) / min(height, width))
        return (self.limit, long) if height <= width else (long, self.limit)


class TrainingGeometry:
    """The random geometry of training: rotation, RandomResizedCrop, horizontal flip.

    A sample is a pure function of (seed, epoch, index): neither workers nor ranks nor a resumption change it.

    Args:
        image_size: side in pixels of the square that results.
        crop_scale: range of the crop's share of the area; None leaves ``evaluation`` in the crop's place.
        crop_ratio: range of the crop's width / height.
        flip: whether half of the samples are mirrored.
        rotation: largest rotation in degrees, to either side; corners become black.
        seed: first part of the key.
        evaluation: geometry of evaluation, used where ``crop_scale`` is None.
    """

    def __init__(
        self,
        image_size: int,
        crop_scale: tuple[float, float] | None,
        crop_ratio: tuple[float, float],
        flip: bool,
        rotation: float,
        seed: int,
        evaluation: EvaluationGeometry,
    ) -> None:
        self.image_size, self.flip, self.seed, self.evaluation = image_size, flip, seed, evaluation
        self.rotate = v2.RandomRotation((-rotation, rotation), v2.InterpolationMode.BILINEAR) if rotation else None
        self.crop = (
            None if crop_scale is None else v2.RandomResizedCrop(image_size, tuple(crop_scale), tuple(crop_ratio))
        )

    def __call__(self, pixels: Tensor, epoch: int, index: int) -> Tensor:
        """Return uint8 ``(C, image_size, image_size)``, the augmentation of sample ``index`` in ``epoch``."""
        with _seeded(self.seed, epoch, index):
            return self._moved(pixels)

    def _moved(self, pixels: Tensor) -> Tensor:
        """Apply the three steps; the functions behind torchvision's transforms take half the time of the transforms."""
        if self.rotate is not None:
            pixels = self.rotate(pixels)
        if self.crop is None:
            pixels = self.evaluation(pixels)
        else:
            box = self.crop.make_params([pixels])
            pixels = F.resized_crop_image(pixels, **box, size=[self.image_size, self.image_size], antialias=True)
        if self.flip and torch.rand(1) < 0.5:
            pixels = F.horizontal_flip_image(pixels)
        return pixels


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Run a block with torch's CPU generator seeded by ``key``, and put the generator back afterwards."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        generator.set_state(before)
