"""Colours of a batch, changed at random on its device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jitter"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision and Pillow


def jitter(images: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of each image by its own factors from [1 - strength, 1 + strength].

    The three steps are those of torchvision's ``ColorJitter``, in that order, with factors per image instead of per
    call. The draws come from the global generator of the images' device.

    Args:
        images: ``(B, 3, H, W)`` float in [0, 1].
        strength: in [0, 1]; 0 returns the images as they are.

    Returns:
        ``(B, 3, H, W)`` float in [0, 1].
    """
    if not strength:
        return images
    draws = torch.rand(3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    brightness, contrast, saturation = 1 + strength * (2 * draws - 1)
    images = (images * brightness).clamp(0, 1)
    images = _blend(images, _grey(images).mean((-2, -1), keepdim=True), contrast)
    return _blend(images, _grey(images), saturation)


def _grey(images: Tensor) -> Tensor:
    """Return the luma ``(B, 1, H, W)``."""
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Return ``other`` at factor 0, ``images`` at 1, and beyond for larger factors, within [0, 1]."""
    return (other + factor * (images - other)).clamp(0, 1)
