"""Segments: maps that cut each image into regions to be removed, kept or weighed as one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

try:
    from skimage.segmentation import quickshift, slic
except ModuleNotFoundError:
    quickshift = slic = None

__all__ = ["SEGMENTER_NAMES", "Patches", "Quickshift", "Segmenter", "Slic", "create_segmenter", "segment_counts"]


class Segmenter(ABC):
    """A way of cutting images into segments: ``images -> segments``."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Cut images into segments.

        Args:
            images: ``(B, 3, H, W)`` float in [0, 1].

        Returns:
            ``(B, H, W)`` int64 on the device of the images; each image's segments are numbered 0, 1, … without gaps.

        Raises:
            ValueError: if the images are no such batch.
        """


@dataclass(frozen=True, slots=True)
class Patches(Segmenter):
    """Squares on a grid from the upper left corner; those at the right and lower border may be smaller.

    Attributes:
        size: side in pixels (Balasubramanian & Feizi, ICCV 2023: 16, which makes 196 of an image of 224²).

    Raises:
        ValueError: if the size is less than 1.
    """

    size: int = 16

    def __post_init__(self) -> None:
        """Check the size."""
        if self.size < 1:
            raise ValueError(f"the size of a patch is {self.size}; it must be at least 1 pixel")

    def __call__(self, images: Tensor) -> Tensor:
        """Cut images into patches; see :meth:`Segmenter.__call__`."""
        _check_images(images)
        height, width = images.shape[-2:]
        rows = torch.arange(height, device=images.device) // self.size
        columns = torch.arange(width, device=images.device) // self.size
        return (rows[:, None] * (columns[-1] + 1) + columns).expand(len(images), -1, -1).contiguous()


@dataclass(frozen=True, slots=True)
class Slic(Segmenter):
    """SLIC superpixels of scikit-image with its defaults (Achanta et al., TPAMI 2012).

    Attributes:
        segments: about how many (default: scikit-image's 100; Balasubramanian & Feizi's LIME: 250).

    Raises:
        ModuleNotFoundError: if scikit-image is missing.
    """

    segments: int = 100

    def __post_init__(self) -> None:
        """Check that scikit-image is there."""
        _require_skimage("SLIC")

    def __call__(self, images: Tensor) -> Tensor:
        """Cut images into superpixels on the CPU; see :meth:`Segmenter.__call__`."""
        return _one_by_one(images, lambda image: slic(image, n_segments=self.segments))


@dataclass(frozen=True, slots=True)
class Quickshift(Segmenter):
    """Quickshift superpixels of scikit-image (Vedaldi & Soatto, ECCV 2008), about 0.5 s for an image of 224².

    An image without any structure may become one segment. Ties are broken by scikit-image's own fixed seed.

    Attributes:
        kernel_size: width of the Gaussian (LIME's own code and the removal of features of Balasubramanian & Feizi: 4;
            the latter's LIME: 2).
        max_dist: the farthest that two pixels of a segment may be apart (both: 200).
        ratio: weight of colour against place, in [0, 1] (both: 0.2).

    Raises:
        ModuleNotFoundError: if scikit-image is missing.
    """

    kernel_size: float = 4.0
    max_dist: float = 200.0
    ratio: float = 0.2

    def __post_init__(self) -> None:
        """Check that scikit-image is there."""
        _require_skimage("quickshift")

    def __call__(self, images: Tensor) -> Tensor:
        """Cut images into superpixels on the CPU; see :meth:`Segmenter.__call__`."""
        return _one_by_one(
            images,
            lambda image: quickshift(
                image, kernel_size=self.kernel_size, max_dist=self.max_dist, ratio=self.ratio, rng=42
            ),
        )


SEGMENTER_NAMES = ("patches16", "patches32", "slic", "slic250", "quickshift", "quickshift2")
"""The names of published settings; any other number of pixels, segments or kernel width may stand in theirs."""


def create_segmenter(name: str) -> Segmenter:
    """Return a segmenter by name: ``patches16``, ``slic`` or ``slic250``, ``quickshift`` or ``quickshift2``.

    The number is the side of a patch, the wanted number of superpixels, or quickshift's kernel width; without one the
    segmenter has its default.

    Raises:
        ValueError: if the name is unknown.
        ModuleNotFoundError: if it needs scikit-image, and that is missing.
    """
    found = re.fullmatch(r"(patches|slic|quickshift)([1-9]\d*)?", name)
    if found is None:
        raise ValueError(
            f"unknown segments {name!r}; choose from {', '.join(SEGMENTER_NAMES)}, or another number in their place"
        )
    kind = {"patches": Patches, "slic": Slic, "quickshift": Quickshift}[found[1]]
    segmenter: Segmenter = kind(int(found[2])) if found[2] else kind()
    return segmenter


def segment_counts(segments: Tensor) -> Tensor:
    """Return how many segments each map ``(B, H, W)`` has, ``(B,)`` int64."""
    return segments.flatten(1).amax(dim=1) + 1


def _one_by_one(images: Tensor, cut: Callable[[npt.NDArray[np.float64]], Any]) -> Tensor:
    """Cut each image on the CPU, and number its segments without gaps."""
    _check_images(images)
    maps = []
    for image in images.permute(0, 2, 3, 1).cpu().double().numpy():
        labels = cut(np.ascontiguousarray(image))
        maps.append(np.unique(labels, return_inverse=True)[1].reshape(labels.shape))
    if not maps:
        return torch.zeros((0, *images.shape[-2:]), dtype=torch.int64, device=images.device)
    return torch.from_numpy(np.stack(maps)).to(images.device, torch.int64)


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images are {tuple(images.shape)} of {images.dtype}; segments need a batch (B, 3, H, W) of floats"
        )


def _require_skimage(what: str) -> None:
    if slic is None:
        raise ModuleNotFoundError(
            f"{what} segments come from scikit-image; install it: pip install 'maskexp[segments]', or use patches16"
        )
