"""Where pixels go: resizing, cropping, flipping, on image and foreground at once.

Both geometries take uint8 ``(C, H, W)`` with the foreground as a soft fourth channel behind RGB, so that one resampling
moves both and nothing can slip by half a pixel. Four channels are as fast as three; five are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

__all__ = ["EvaluationGeometry", "Resize", "ShortSide", "TrainingGeometry", "draws"]

Resize = Literal["square", "center_crop"]
DRAWS = 24
"""Of rotation, flip, place of the crop, and ten attempts at its size."""


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

    A sample is a pure function of (seed, epoch, index): neither workers nor ranks nor a resumption change it. Crops
    have the distribution of torchvision's ``RandomResizedCrop``.

    Args:
        image_size: side in pixels of the square that results.
        crop_scale: range of the crop's share of the area; None leaves ``evaluation`` in the crop's place.
        crop_ratio: range of the crop's width / height.
        flip: whether half of the samples are mirrored.
        rotation: largest rotation in degrees, to either side; corners become black.
        seed: first part of the key, at least 0.
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
        self.image_size, self.flip, self.rotation, self.seed = image_size, flip, rotation, seed
        self.crop_scale, self.crop_ratio, self.evaluation = crop_scale, crop_ratio, evaluation

    def __call__(self, pixels: Tensor, epoch: int, index: int) -> Tensor:
        """Return uint8 ``(C, image_size, image_size)``, the augmentation of sample ``index`` in ``epoch``."""
        turn, mirror, *of_crop = draws(self.seed, epoch, index)
        if self.rotation:
            pixels = F.rotate_image(pixels, self.rotation * (2 * turn - 1), v2.InterpolationMode.BILINEAR)
        if self.crop_scale is None:
            pixels = self.evaluation(pixels)
        else:
            height, width = pixels.shape[-2:]
            pixels = self._resampled(pixels, *self.crop_box(height, width, of_crop))
        return F.horizontal_flip_image(pixels) if self.flip and mirror < 0.5 else pixels

    def crop_box(self, height: int, width: int, draws: Sequence[float]) -> tuple[int, int, int, int]:
        """Choose a crop of a picture as ``RandomResizedCrop`` does.

        Args:
            height: of the picture.
            width: of the picture.
            draws: from [0, 1): where the crop lies, downwards and to the right, then pairs of area and shape. The first
                pair that fits is taken; if none does, the largest crop in the centre whose shape is permitted.

        Returns:
            top, left, height, width.
        """
        scale, ratio = self.crop_scale or (1.0, 1.0), self.crop_ratio
        for of_area, of_shape in zip(draws[2::2], draws[3::2], strict=True):
            area = height * width * (scale[0] + (scale[1] - scale[0]) * of_area)
            shape = ratio[0] * (ratio[1] / ratio[0]) ** of_shape
            rows, columns = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
            if 0 < rows <= height and 0 < columns <= width:
                return int(draws[0] * (height - rows + 1)), int(draws[1] * (width - columns + 1)), rows, columns
        rows, columns = min(height, round(width / ratio[0])), min(width, round(height * ratio[1]))
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    def _resampled(self, pixels: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a crop as a square of ``image_size``, smoothly."""
        crop = pixels[None, :, top : top + height, left : left + width]
        # torch resamples bytes in this order twice as fast as plane by plane, to the same values.
        crop = crop.contiguous(memory_format=torch.channels_last)
        return interpolate(crop, (self.image_size, self.image_size), mode="bilinear", antialias=True)[0]


def draws(seed: int, epoch: int, index: int) -> list[float]:
    """Return the random numbers of a sample, from [0, 1): a function of the key alone, for which nothing is seeded."""
    key, counter = np.array([seed, epoch], np.uint64), np.array([0, index, 0, 0], np.uint64)
    drawn: list[float] = np.random.Generator(np.random.Philox(counter=counter, key=key)).random(DRAWS).tolist()
    return drawn
