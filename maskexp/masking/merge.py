"""Masks of several resolutions as one: what the union of the stages keeps."""

from __future__ import annotations

from collections.abc import Sequence

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
    if not masks:
        raise ValueError("no masks to merge: give at least one (B, 1, h, w) mask")
    finest = max(masks, key=lambda mask: mask.shape[-2] * mask.shape[-1])
    size = (finest.shape[-2], finest.shape[-1])
    merged = upsample_nearest(masks[0], size)
    for mask in masks[1:]:
        merged = merged.maximum(upsample_nearest(mask, size))
    return merged
