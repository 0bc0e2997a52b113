"""Masks that know nothing of the image, by which a classifier learns to decide from any part of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from maskexp.masking.merge import upsample_nearest
from maskexp.masking.relaxed import relaxed_bernoulli

__all__ = ["BernoulliMasks", "RadialMasks", "RandomMasks", "radial_map"]


class RandomMasks(ABC):
    """Draws a mask for each image of a batch."""

    @abstractmethod
    def draw(self, images: Tensor) -> Tensor:
        """Return masks ``(B, 1, H, W)`` in [0, 1] for images ``(B, C, H, W)``."""


@dataclass(frozen=True)
class BernoulliMasks(RandomMasks):
    """Each cell is visible with probability 1/2, independently (REAL-X, Eq. 6).

    Attributes:
        cell: pixels a side of a cell.
        temperature: of the relaxation to (0, 1); None draws 0 or 1.

    Raises:
        ValueError: when applied to images that the cells do not fill.
    """

    cell: int = 1
    temperature: float | None = None

    def draw(self, images: Tensor) -> Tensor:
        """Return the masks."""
        height, width = images.shape[-2:]
        if height % self.cell or width % self.cell:
            raise ValueError(f"cells of {self.cell} pixels do not fill an image of {height} × {width} pixels")
        like = images.new_zeros(len(images), 1, height // self.cell, width // self.cell)
        if self.temperature is not None:
            cells = relaxed_bernoulli(like, self.temperature).to(images.dtype)
        else:
            cells = (torch.rand_like(like) < 0.5).to(images.dtype)
        return upsample_nearest(cells, (height, width))


@dataclass(frozen=True)
class RadialMasks(RandomMasks):
    r"""A Gaussian bump somewhere in the image (RB-AEM's random radial basis functions).

    Attributes:
        margin: least distance of the centre from the border, as a share of the side (released code: 4 of 224 pixels).
        sigma: smallest and largest deviation, as shares of the shorter side (released code: 80 and 100 of 224 pixels).
        temperature: of a Bernoulli draw of each pixel from the bump, relaxed (released code: 0.1); None takes the bump
            itself (COMET's release).
    """

    margin: float = 4 / 224
    sigma: tuple[float, float] = (80 / 224, 100 / 224)
    temperature: float | None = 0.1

    def draw(self, images: Tensor) -> Tensor:
        """Return the masks."""
        height, width = images.shape[-2:]
        uniform = torch.rand_like(images.new_empty(len(images), 3))
        inside = self.margin + (1 - 2 * self.margin) * uniform[:, :2]
        low, high = self.sigma
        sigma = (low + (high - low) * uniform[:, 2]) * min(height, width)
        size = images.new_tensor([height, width])
        bump = radial_map(inside * size, sigma, (height, width))
        if self.temperature is None:
            return bump
        probability = bump.clamp(min=1e-6, max=1 - 1e-6)
        return relaxed_bernoulli(torch.logit(probability), self.temperature).to(images.dtype)


def radial_map(centre: Tensor, sigma: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Return :math:`\exp(-d^2 / 2 \sigma^2)` with the distance :math:`d` of each pixel from a centre.

    Args:
        centre: ``(B, 2)`` row and column in pixels; the first pixel is at 0.
        sigma: ``(B,)`` in pixels, above 0.
        size: (height, width) in pixels.

    Returns:
        ``(B, 1, H, W)`` in [0, 1].
    """
    rows = torch.arange(size[0], device=centre.device, dtype=centre.dtype)
    columns = torch.arange(size[1], device=centre.device, dtype=centre.dtype)
    down, across = (rows - centre[:, :1]) ** 2, (columns - centre[:, 1:]) ** 2
    squared = down[:, :, None] + across[:, None, :]
    return torch.exp(-squared / (2 * sigma[:, None, None] ** 2))[:, None]
