"""Pointing game: does the highest attribution lie on the foreground?"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.metrics.functional.inputs import batch_of_foregrounds, batch_of_maps, present_images, to_real

__all__ = ["pointing_game"]

Ties = Literal["mean", "first"]


def pointing_game(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    *,
    tolerance: float = 15,
    ties: Ties = "mean",
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    r"""Compute the pointing game.

    An image is a hit if the pixel of highest attribution lies less than ``tolerance`` pixels from a foreground pixel:

    .. math:: \text{hit} = [\exists\, p: M_p = 1, \; \lVert p - \arg\max_q A_q \rVert < \text{tolerance}]

    The range is [0, 1], higher is better.

    Source: Zhang et al. (2018, Top-down Neural Attention by Excitation Backprop), with the strict inequality of
    TorchRay's code and its tolerance of 15 pixels. A binary mask has many highest pixels. TorchRay takes the first of
    them (``ties="first"``), the top left corner of the mask; the default, ours, is the share of them that hit, which is
    the expected hit of a pick at random. A constant map then scores the area share of the widened foreground.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the foreground.
        foreground: bool, same size.
        has_foreground: ``(B,)`` bool; images without a ground truth, or with an empty one, are left out.
        tolerance: pixels; 0 asks for a foreground pixel itself.
        ties: what counts where several pixels are highest.
        reduction: ``mean`` over the images that are not left out (NaN for none), or ``none``, the ``(B,)`` hits of all.

    Raises:
        ValueError: if shapes or types do not fit, the attribution is not finite, or the tolerance is negative.

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[0.1, 0.2, 0.9, 0.0, 0.0]]])
        >>> foreground = torch.tensor([[[True, False, False, False, False]]])
        >>> [pointing_game(attribution, foreground, tolerance=t).item() for t in (0, 2, 3)]
        [0.0, 0.0, 1.0]
    """
    hit, usable = pointing_hits(attribution, foreground, has_foreground, validated_tolerance(tolerance), ties)
    return hit if reduction == "none" else hit[usable].mean()


def validated_tolerance(tolerance: float) -> float:
    """Return the tolerance if it is not negative.

    Raises:
        ValueError: if it is.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is a number of pixels ≥ 0, not {tolerance}")
    return tolerance


def pointing_hits(
    attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None, tolerance: float, ties: Ties
) -> tuple[Tensor, Tensor]:
    """Return the hit of each image in [0, 1] and which images have a foreground, both ``(B,)``."""
    maps = batch_of_maps(attribution)
    foreground = batch_of_foregrounds(foreground, maps.shape)
    usable = present_images(has_foreground, foreground) & foreground.flatten(1).any(dim=1)
    if not maps.numel():
        return maps.new_zeros(len(maps)), usable
    near = _widened(foreground, tolerance).flatten(1)
    values = maps.flatten(1)
    if ties == "first":
        return to_real(near.gather(1, values.argmax(dim=1, keepdim=True))[:, 0]), usable
    highest = values == values.amax(dim=1, keepdim=True)
    return to_real(highest & near).sum(dim=1) / highest.sum(dim=1), usable


def _widened(foreground: Tensor, tolerance: float) -> Tensor:
    """Return which of the ``(B, H, W)`` pixels lie less than ``tolerance`` from a foreground pixel."""
    radius = max(math.ceil(tolerance) - 1, 0)  # the farthest whole pixel that is nearer than the tolerance
    offsets = torch.arange(-radius, radius + 1, device=foreground.device)
    squared = offsets[:, None] ** 2 + offsets[None] ** 2
    disc = (squared < tolerance**2) | (squared == 0)
    # A sum of zeros and ones is above 0.5 or not in any precision, so that autocast and TF32 do no harm here.
    reached = F.conv2d(foreground[:, None].float(), disc[None, None].float(), padding=radius)
    return reached[:, 0] > 0.5
