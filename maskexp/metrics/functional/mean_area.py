"""Mean area: the share of an image that a mask selects."""

from __future__ import annotations

from torch import Tensor

from maskexp.metrics.functional.inputs import batch_of_maps, check_unit_range

__all__ = ["mean_area"]


def mean_area(mask: Tensor) -> Tensor:
    r"""Compute the mean share of active mask, :math:`\frac{1}{B H W} \sum_{bhw} m_{bhw}`, in [0, 1].

    Neither high nor low is better: it is the size against which localisation and accuracy of a mask have to be read.

    Args:
        mask: ``(B, 1, H, W)`` or ``(B, H, W)`` with values in [0, 1]; bool counts as 0 and 1.

    Raises:
        ValueError: if the shape is another one or values are outside [0, 1] or not finite.

    Example:
        >>> import torch
        >>> mean_area(torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.5, 0.0]]]))
        tensor(0.4375, dtype=torch.float64)
    """
    return area_per_image(mask).mean()


def area_per_image(mask: Tensor) -> Tensor:
    """Return the share of active mask of every image as ``(B,)``."""
    maps = batch_of_maps(mask, "mask")
    check_unit_range(maps, "mask")
    return maps.flatten(1).mean(dim=1)
