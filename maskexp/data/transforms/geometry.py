"""Where pixels go: resizing, cropping, flipping, on image and foreground at once.

Images come as uint8 ``(C, H, W)`` with the foreground as a soft fourth channel behind RGB, so that one resampling moves
both and nothing can slip by half a pixel. Four channels are as fast as three; five are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from maskexp.data.errors import DataError

__all__ = ["EvalTransform", "Resize", "SampleKey", "ShortSide", "TrainTransform", "draws"]

Resize = Literal["square", "center_crop"]
SampleKey = tuple[int, int, int]
"""(seed, epoch, index): of these alone the augmentation of a sample is a function."""
DRAWS = 24
"""Of rotation, flip, place of the crop, and ten attempts at its size."""


class EvalTransform:
    """The fixed geometry of evaluation: resize, then keep the centre.

    Args:
        resize: ``square`` resizes both sides to the same length, which distorts the aspect (released code of group_DRO
            and GALS); ``center_crop`` keeps the aspect and crops the longer side.
        crop_fraction: share of the resized side that the centre crop keeps, in (0, 1]; 1 keeps all of it. group_DRO
            resizes to 256 and keeps 224: 0.875.

    Raises:
        DataError: if an argument is out of range.
    """

    def __init__(self, resize: Resize = "square", crop_fraction: float = 1.0) -> None:
        if resize not in ("square", "center_crop"):
            raise DataError(f"resize is {resize!r}; it must be square or center_crop")
        if not 0 < crop_fraction <= 1:
            raise DataError(f"crop_fraction is {crop_fraction}; it must be in (0, 1]")
        self.resize, self.crop_fraction = resize, crop_fraction

    def __call__(self, pixels: Tensor, size: int) -> Tensor:
        """Return uint8 ``(C, size, size)`` of uint8 ``(C, H, W)``."""
        side = round(size / self.crop_fraction)
        pixels = F.resize(pixels, [side, side] if self.resize == "square" else [side], antialias=True)
        cropped: Tensor = F.center_crop(pixels, [size, size])
        return cropped

    def undone(self, region: Tensor, height: int, width: int) -> Tensor:
        """Return where a region of the result lies in the image; what was cropped away is outside of it.

        Args:
            region: ``(S, S)`` bool.
            height: of the image in pixels.
            width: of the image in pixels.

        Returns:
            ``(H, W)`` bool, by the nearest pixel.
        """
        size = len(region)
        side = round(size / self.crop_fraction)
        resized = F.resize(torch.empty(1, height, width), [side, side] if self.resize == "square" else [side])
        placed = torch.zeros(resized.shape[-2:])
        top, left = (round((length - size) / 2) for length in placed.shape)
        placed[top : top + size, left : left + size] = region
        return interpolate(placed[None, None], (height, width), mode="nearest-exact")[0, 0] > 0


class TrainTransform:
    """The random transform of training: rotation, crop, horizontal flip, then colours; a hook for any other.

    A sample is a pure function of (seed, epoch, index): neither workers nor ranks nor a resumption change it. Crops
    have the distribution of torchvision's ``RandomResizedCrop``.

    Args:
        crop_scale: range of a crop's share of the area, in (0, 1] (default: released code of group_DRO); null resizes
            whole images, as evaluation does.
        crop_ratio: range of a crop's width / height (default: released code of group_DRO).
        flip: probability that an image is mirrored, in [0, 1].
        rotation: largest rotation in degrees, to either side, in [0, 180]; corners become black.
        photometric: strength in [0, 1] of the change of brightness, contrast and saturation, made on whole batches on
            their device.
        transforms: torchvision v2 transforms of image and mask that follow crop and flip, e.g.
            ``torchvision.transforms.v2.RandAugment``. They get bytes; their draws are a function of (seed, epoch,
            index) too.
        mix: torchvision's ``MixUp`` or ``CutMix`` (or ``RandomChoice``, ``RandomApply`` of them), which mixes the
            images of a batch and makes their labels soft. Masks are mixed alike.

    Raises:
        DataError: if an argument is out of range.
    """

    def __init__(
        self,
        crop_scale: tuple[float, float] | None = (0.7, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        rotation: float = 0.0,
        photometric: float = 0.0,
        transforms: list[v2.Transform] | None = None,
        mix: v2.Transform | None = None,
    ) -> None:
        if crop_scale is not None and not (len(crop_scale) == 2 and 0 < crop_scale[0] <= crop_scale[1] <= 1):
            raise DataError(f"crop_scale is {crop_scale}; it must be a lower and an upper share of the area in (0, 1]")
        if not (len(crop_ratio) == 2 and 0 < crop_ratio[0] <= crop_ratio[1] < math.inf):
            raise DataError(f"crop_ratio is {crop_ratio}; it must be a lower and an upper width / height above 0")
        if isinstance(flip, bool) or not 0 <= flip <= 1:
            raise DataError(f"flip is {flip}; it must be a probability in [0, 1], e.g. 0.5")
        if not 0 <= rotation <= 180:
            raise DataError(f"rotation is {rotation}; it must be in [0, 180] degrees")
        if not 0 <= photometric <= 1:
            raise DataError(f"photometric is {photometric}; it must be in [0, 1]")
        self.crop_scale, self.crop_ratio, self.flip, self.rotation = crop_scale, crop_ratio, flip, rotation
        self.photometric, self.transforms, self.mix = photometric, transforms, mix

    def __call__(self, pixels: Tensor, size: int, key: SampleKey, evaluate: Callable[[Tensor], Tensor]) -> Tensor:
        """Move one image and its mask; ``transforms``, ``photometric`` and ``mix`` are applied by the caller.

        Args:
            pixels: uint8 ``(C, H, W)``.
            size: side of the square that results.
            key: seed, epoch and index of the sample.
            evaluate: the transform of evaluation, which takes the place of a crop where ``crop_scale`` is None.

        Returns:
            uint8 ``(C, size, size)``.
        """
        turn, mirror, *of_crop = draws(*key)
        if self.rotation:
            pixels = F.rotate_image(pixels, self.rotation * (2 * turn - 1), v2.InterpolationMode.BILINEAR)
        if self.crop_scale is None:
            pixels = evaluate(pixels)
        else:
            height, width = pixels.shape[-2:]
            pixels = _resampled(pixels, *self.crop_box(height, width, of_crop), size)
        return F.horizontal_flip_image(pixels) if mirror < self.flip else pixels

    def crop_box(self, height: int, width: int, draws: Sequence[float]) -> tuple[int, int, int, int]:
        """Choose a crop of an image as ``RandomResizedCrop`` does.

        Args:
            height: of the image.
            width: of the image.
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


@dataclass(frozen=True, slots=True)
class ShortSide:
    """Shrink an image until its short side has ``limit`` pixels; a smaller one stays as it is, none is cropped.

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
        """Return whether an image of that size is changed."""
        return min(height, width) > self.limit

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of what becomes of an image of that size."""
        if not self.shrinks(height, width):
            return height, width
        long = int(self.limit * max(height, width) / min(height, width))
        return (self.limit, long) if height <= width else (long, self.limit)


def draws(seed: int, epoch: int, index: int) -> list[float]:
    """Return the random numbers of a sample, from [0, 1): a function of the key alone, for which nothing is seeded."""
    key, counter = np.array([seed, epoch], np.uint64), np.array([0, index, 0, 0], np.uint64)
    drawn: list[float] = np.random.Generator(np.random.Philox(counter=counter, key=key)).random(DRAWS).tolist()
    return drawn


def _resampled(pixels: Tensor, top: int, left: int, height: int, width: int, size: int) -> Tensor:
    """Return a crop as a square of ``size``, smoothly."""
    crop = pixels[None, :, top : top + height, left : left + width]
    # torch resamples bytes in this order twice as fast as plane by plane, to the same values.
    crop = crop.contiguous(memory_format=torch.channels_last)
    return interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]
