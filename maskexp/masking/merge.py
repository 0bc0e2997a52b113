"""Masks of several resolutions as one: what any of them keeps, or what all of them keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample ``(B, C, h, w)`` to ``(B, C, H, W)`` by repeating cells, so that a binary mask stays binary."""
    return values if values.shape[-2:] == size else F.interpolate(values, size=size, mode="nearest")


def merge_masks(masks: Sequence[Tensor]) -> Tensor:
    """Merge binary masks ``(B, 1, h_i, w_i)`` by logical OR on the finest of their grids.

    A position of a sum of masked features survives where *any* of its masks is active. Published as an
    "element-wise merge" of the upsampled masks (AIM project page); that it is an OR is inferred from the sum.

    Raises:
        ValueError: if there is no mask to merge.
    """
    return reduce(torch.maximum, _on_finest_grid(masks))


def intersect_masks(masks: Sequence[Tensor]) -> Tensor:
    """Merge binary masks ``(B, 1, h_i, w_i)`` by logical AND on the finest of their grids.

    What a chain of masks lets through: a position that *each* of them keeps. (Ours; no paper defines the one mask of
    several bottom-up masks.)

    Raises:
        ValueError: if there is no mask to merge.
    """
    return reduce(torch.minimum, _on_finest_grid(masks))


def average_masks(masks: Sequence[Tensor]) -> Tensor:
    """Return which share of the masks ``(B, 1, h_i, w_i)`` keeps each position of the finest of their grids, in [0, 1].

    Raises:
        ValueError: if there is no mask to merge.
    """
    return torch.stack(_on_finest_grid(masks)).mean(dim=0)


def _on_finest_grid(masks: Sequence[Tensor]) -> list[Tensor]:
    """Upsample all masks to the finest of their grids."""
    if not masks:
        raise ValueError("no masks to merge: give at least one (B, 1, h, w) mask")
    finest = max(masks, key=lambda mask: mask.shape[-2] * mask.shape[-1])
    return [upsample_nearest(mask, (finest.shape[-2], finest.shape[-1])) for mask in masks]
