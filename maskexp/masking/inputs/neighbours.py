"""Neighbour padding: hidden positions next to visible ones take the mean of their known neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-5
"""Added to the number of known neighbours; the value of the released code."""


def neighbour_padding(
    features: Tensor,
    visible: Tensor,
    rings: int,
    fillable: Tensor | None = None,
    *,
    keep: bool = False,
    in_place: bool = False,
) -> Tensor:
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
        keep: whether hidden positions where none may be written keep their values, instead of becoming 0.
        in_place: whether the fill may be written into the features themselves, which saves a copy of them.

    Returns:
        ``(B, C, H, W)``, equal to ``features`` where visible.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """
    missing = ~visible if fillable is None else ~visible & fillable
    if not bool(missing.any()):
        return features if fillable is None or keep else torch.where(visible, features, 0)
    if features.device.type == "cpu" and features.dtype in (torch.float32, torch.float64):
        with torch.no_grad():
            filled = _filled_by_rows(features.detach(), visible, rings, fillable, keep, in_place)
        # Where no gradient is asked for, that is all; otherwise all but the fill comes from the features themselves.
        return torch.where(missing if keep else ~visible, filled, features) if features.requires_grad else filled
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
    return torch.where(fillable, padded, features) if keep and fillable is not None else padded


_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def _filled_by_rows(
    features: Tensor, visible: Tensor, rings: int, fillable: Tensor | None, keep: bool, in_place: bool
) -> Tensor:
    """Fill a ring at a time, reading and writing nothing but the positions of that ring and their known neighbours.

    A position is a row of a table ``(B h w, C)``, and its fill the sum of the rows of its known neighbours, over their
    number. On a CPU this is three to ten times faster than sums over all windows: those read and write the whole map
    several times, and are all that a depthwise convolution behind them has to wait for.
    """
    batch, channels, height, width = features.shape
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    if not in_place and table.data_ptr() == features.data_ptr():
        table = table.clone()
    known = F.pad(visible[:, 0], (1, 1, 1, 1))  # so that a position at the border has neighbours, which are not known
    inside, flags = known[:, 1:-1, 1:-1], known.view(-1)
    in_flags, in_table = (
        torch.tensor([down * step + right for down, right in _NEIGHBOURS], device=features.device)
        for step in (width + 2, width)
    )
    for _ in range(rings):
        beside = known[..., :-2] | known[..., 1:-1] | known[..., 2:]
        ring = (beside[:, :-2] | beside[:, 1:-1] | beside[:, 2:]) & ~inside
        if fillable is not None:
            ring &= fillable[:, 0]
        image, row, column = ring.nonzero(as_tuple=True)
        if not len(image):
            break
        place = (image * height + row) * width + column
        flag = (image * (height + 2) + row + 1) * (width + 2) + column + 1
        is_known = flags[flag[:, None] + in_flags]
        count = is_known.sum(dim=1)
        fill = F.embedding_bag((place[:, None] + in_table)[is_known], table, count.cumsum(dim=0) - count, mode="sum")
        table.index_copy_(0, place, fill.div_((count + _EPSILON)[:, None]))
        flags[flag] = True
    beyond = ~inside & fillable[:, 0] if keep and fillable is not None else ~inside
    table.index_fill_(0, beyond.flatten().nonzero()[:, 0], 0)
    return table.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _window_sum(values: Tensor) -> Tensor:
    """Sum over 3×3 windows with zeros beyond the border; rows, then columns, which is faster than a convolution."""
    rows = values.clone()
    rows[..., 1:] += values[..., :-1]
    rows[..., :-1] += values[..., 1:]
    sums = rows.clone()
    sums[..., 1:, :] += rows[..., :-1, :]
    sums[..., :-1, :] += rows[..., 1:, :]
    return sums
