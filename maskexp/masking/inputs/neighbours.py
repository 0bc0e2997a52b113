"""Neighbour padding: hidden positions next to visible ones take the mean of their known neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-5
"""Added to the number of known neighbours; the value of the released code."""


def neighbour_padding(features: Tensor, visible: Tensor, rings: int, fillable: Tensor | None = None) -> Tensor:
    r"""Fill hidden positions from the visible ones outwards, one ring of the 8-neighbourhood at a time.

    .. math:: x \leftarrow x + (1 - m)\, \frac{n}{d + 10^{-5}}, \qquad m \leftarrow 1[d > 0]

    with :math:`n` and :math:`d` the sums of :math:`x \odot m` and :math:`m` over 3×3 windows. Positions that no ring
    reaches become 0. A convolution of width k sees nothing further than k - 1 positions from a visible one, so more
    rings than that change nothing. The fill carries no gradient.

    Args:
        features: ``(B, C, H, W)``; hidden values may be anything, NaN included.
        visible: ``(B, 1, H, W)`` bool, True = keep.
        rings: how many rings to fill.
        fillable: ``(1, 1, H, W)`` bool, where a fill may be written; everywhere if None.

    Returns:
        ``(B, C, H, W)``, equal to ``features`` where visible.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """
    padded = torch.where(visible, features, 0)
    known = visible
    for _ in range(rings):
        hidden = ~known if fillable is None else ~known & fillable
        if not bool(hidden.any()):
            break
        with torch.no_grad():
            count = _window_sum(known.to(features.dtype))
            # Without a known neighbour the sum is 0; 1 / epsilon would be infinite in float16.
            weight = hidden.to(count.dtype) / (count + _EPSILON).clamp(min=1)
            fill = _window_sum(padded.detach()).mul_(weight)
            known = known | (hidden & (count > 0))
        padded = padded + fill
    return padded


def _window_sum(values: Tensor) -> Tensor:
    """Sum over 3×3 windows with zeros beyond the border; rows, then columns, which is faster than a convolution."""
    rows = values.clone()
    rows[..., 1:] += values[..., :-1]
    rows[..., :-1] += values[..., 1:]
    sums = rows.clone()
    sums[..., 1:, :] += rows[..., :-1, :]
    sums[..., :-1, :] += rows[..., 1:, :]
    return sums
