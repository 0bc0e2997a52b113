"""Neighbour padding: hidden positions next to visible ones take the mean of their known neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-5
"""Added to the number of known neighbours; the value of the released code."""


@dataclass(frozen=True, slots=True)
class _Ring:
    """One ring: rows of the table that are filled, and of which others each is the mean.

    Attributes:
        places: ``(N,)`` int64 rows that are filled.
        sources: ``(M,)`` int64 rows of their known neighbours, one place after the other.
        starts: ``(N,)`` int64, where in ``sources`` those of each place begin.
        divisor: ``(N, 1)``, how many they are, and epsilon.
    """

    places: Tensor
    sources: Tensor
    starts: Tensor
    divisor: Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """What neighbour padding does to all features of one mask.

    Attributes:
        masks: that it holds for; as long as it is kept, nothing else has their identity.
        rings: from the visible positions outwards; None where nothing is hidden.
        beyond: ``(K,)`` int64 rows that become 0.
    """

    masks: tuple[Tensor, Tensor | None]
    rings: tuple[_Ring, ...] | None
    beyond: Tensor | None


Plans = dict[tuple[int, int, int, bool], Plan]
"""Plans by the identity of the two masks, the number of rings, and whether values are kept."""


def neighbour_padding(
    features: Tensor,
    visible: Tensor,
    rings: int,
    fillable: Tensor | None = None,
    *,
    keep: bool = False,
    in_place: bool = False,
    plans: Plans | None = None,
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
        plans: what was found out about masks before, which is kept here for other features of the same ones: layers of
            a stage share a mask, and finding its rings takes as long as filling them.

    Returns:
        ``(B, C, H, W)``, equal to ``features`` where visible.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """
    plans = {} if plans is None else plans
    key = (id(visible), id(fillable), rings, keep)
    if key not in plans:
        missing = ~visible if fillable is None else ~visible & fillable
        if not bool(missing.any()):
            plans[key] = Plan((visible, fillable), None, None)
        elif features.device.type == "cpu" and features.dtype in (torch.float32, torch.float64):
            plans[key] = _planned(visible, rings, fillable, keep)
    plan = plans.get(key)
    if plan is not None and plan.rings is None:
        return features if fillable is None or keep else torch.where(visible, features, 0)
    if plan is not None:
        with torch.no_grad():
            filled = _filled_by_rows(features.detach(), plan, in_place)
        if not features.requires_grad:
            return filled
        # All but the fill comes from the features themselves.
        return torch.where(~visible & fillable if keep and fillable is not None else ~visible, filled, features)
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


def _planned(visible: Tensor, rings: int, fillable: Tensor | None, keep: bool) -> Plan:
    """Find out which rows of a table ``(B h w, C)`` each ring fills, and from which of their neighbours."""
    batch, _, height, width = visible.shape
    # With a border, so that a position at the edge has neighbours, which are not known.
    known = F.pad(visible[:, 0], (1, 1, 1, 1))
    inside, flags = known[:, 1:-1, 1:-1], known.view(-1)
    rows = torch.arange(batch * height * width, device=visible.device).view(batch, height, width)
    rows = F.pad(rows, (1, 1, 1, 1)).view(-1)
    steps = [down * (width + 2) + right for down, right in _NEIGHBOURS]
    around = torch.tensor(steps, device=visible.device)
    ring = torch.zeros_like(known)
    found = []
    for _ in range(rings):
        beside = known[..., :-2] | known[..., 1:-1] | known[..., 2:]
        ring[:, 1:-1, 1:-1] = (beside[:, :-2] | beside[:, 1:-1] | beside[:, 2:]) & ~inside
        if fillable is not None:
            ring[:, 1:-1, 1:-1] &= fillable[:, 0]
        flag = ring.view(-1).nonzero()[:, 0]
        if not len(flag):
            break
        neighbours = (flag[:, None] + around).view(-1)
        is_known = flags.index_select(0, neighbours)  # several times faster than indexing, as is what follows
        count = is_known.view(-1, len(steps)).sum(dim=1)
        sources = rows.index_select(0, neighbours.masked_select(is_known))
        starts = count.cumsum(dim=0) - count
        found.append(_Ring(rows.index_select(0, flag), sources, starts, (count + _EPSILON)[:, None]))
        flags.index_fill_(0, flag, True)
    beyond = ~inside & fillable[:, 0] if keep and fillable is not None else ~inside
    return Plan((visible, fillable), tuple(found), beyond.flatten().nonzero()[:, 0])


def _filled_by_rows(features: Tensor, plan: Plan, in_place: bool) -> Tensor:
    """Fill a ring at a time, reading and writing nothing but the positions of that ring and their known neighbours.

    A position is a row of a table ``(B h w, C)``, and its fill the sum of the rows of its known neighbours, over their
    number. On a CPU this is three to ten times faster than sums over all windows: those read and write the whole map
    several times, and are all that a depthwise convolution behind them has to wait for.
    """
    batch, channels, height, width = features.shape
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    if not in_place and table.data_ptr() == features.data_ptr():
        table = table.clone()
    for ring in plan.rings or ():
        fill = F.embedding_bag(ring.sources, table, ring.starts, mode="sum")
        table.index_copy_(0, ring.places, fill.div_(ring.divisor))
    if plan.beyond is not None and len(plan.beyond):
        table.index_fill_(0, plan.beyond, 0)
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
