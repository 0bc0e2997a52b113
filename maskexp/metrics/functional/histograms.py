"""Counts of pixels by slot of their score, apart for foreground and background."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["slot_histograms"]


def slot_histograms(slot: Tensor, foreground: Tensor, valid: Tensor, slots: int, *, per_image: bool) -> Tensor:
    """Count pixels by slot, background first, then foreground.

    Args:
        slot: ``(B, H, W)`` int64 in ``0 … slots - 1``.
        foreground: ``(B, H, W)`` bool.
        valid: ``(B, H, W)`` bool, the pixels that count.
        slots: number of slots.
        per_image: count each image apart.

    Returns:
        int64 ``(2, slots)``, or ``(B, 2, slots)`` if ``per_image``.

    Example:
        >>> slot = torch.tensor([[[0, 2, 2]]])
        >>> foreground = torch.tensor([[[False, True, True]]])
        >>> slot_histograms(slot, foreground, torch.ones_like(foreground), 3, per_image=False)
        tensor([[1, 0, 0],
                [0, 0, 2]])
    """
    images = len(slot) if per_image else 1
    place = slot + slots * foreground
    if per_image:
        place = place + 2 * slots * torch.arange(images, device=slot.device)[:, None, None]
    overflow = images * 2 * slots  # pixels that do not count end up behind the last slot, which spares a device read
    place = torch.where(valid, place, overflow)
    counts = torch.bincount(place.flatten(), minlength=overflow + 1)[:overflow]
    return counts.view(images, 2, slots) if per_image else counts.view(2, slots)
