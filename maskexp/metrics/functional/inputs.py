"""Shapes and values that every localisation metric accepts, checked at the price of one device read per batch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "batch_of_foregrounds",
    "batch_of_maps",
    "check_finite",
    "check_unit_range",
    "finite_maps",
    "minmax_normalize",
    "present_images",
    "real_dtype",
    "to_real",
    "unit_maps",
]


def real_dtype(device: torch.device) -> torch.dtype:
    """Return the widest floating point type of a device: float64, or float32 on Apple's MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def to_real(values: Tensor) -> Tensor:
    """Convert values of any type to the widest floating point type of their device."""
    return values.to(real_dtype(values.device))


def check_finite(values: Tensor, name: str) -> None:
    """Refuse values ``(B, ...)`` of which one is NaN or infinite.

    Raises:
        ValueError: if so.
    """
    if not bool(values.isfinite().all()):
        bad = (~values.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
        raise ValueError(
            f"{name} holds NaN or infinite values in images {bad} of the batch; look for a diverged network"
        )


def batch_of_maps(values: Tensor, name: str = "attribution") -> Tensor:
    """Return ``(B, 1, H, W)`` or ``(B, H, W)`` maps of any type as ``(B, H, W)`` in :func:`real_dtype`.

    Raises:
        ValueError: if the shape is another one, or a value is NaN or infinite.
    """
    return to_real(finite_maps(values, name))


def finite_maps(values: Tensor, name: str = "attribution") -> Tensor:
    """Return the same in a floating point type of at least 32 bits that holds them exactly, without a copy if it can.

    Raises:
        ValueError: as :func:`batch_of_maps`.
    """
    values = _without_channel(values, name)
    if not values.is_floating_point():
        values = to_real(values)
    elif values.itemsize < 4:
        values = values.float()
    # A NaN or infinity survives the sum, which costs a fiftieth of looking at each value; a sum can also overflow.
    if values.numel() and not bool(values.sum().isfinite()):
        check_finite(values, name)
    return values


def batch_of_foregrounds(foreground: Tensor, size: torch.Size, name: str = "foreground") -> Tensor:
    """Return ``(B, 1, H, W)`` or ``(B, H, W)`` bool masks as ``(B, H, W)``, which has to be ``size``.

    Raises:
        ValueError: if the type is not bool, or the shape does not match.
    """
    if foreground.dtype != torch.bool:
        raise ValueError(f"{name} has to be a bool tensor, not {foreground.dtype}; threshold a soft mask before")
    foreground = _without_channel(foreground, name)
    if foreground.shape != size:
        raise ValueError(
            f"{name} has shape {tuple(foreground.shape)}, but the attribution has {tuple(size)}; "
            f"resize the attribution to the pixels of the image first"
        )
    return foreground


def present_images(has_foreground: Tensor | None, foreground: Tensor) -> Tensor:
    """Return which of the ``(B, H, W)`` foregrounds exist as ``(B,)`` bool; all of them where nothing is said.

    Raises:
        ValueError: if ``has_foreground`` is not ``(B,)`` bool.
    """
    if has_foreground is None:
        return foreground.new_ones(len(foreground))
    if has_foreground.dtype != torch.bool or has_foreground.shape != foreground.shape[:1]:
        raise ValueError(
            f"has_foreground has to be a bool tensor of shape ({len(foreground)},), "
            f"not {has_foreground.dtype} of shape {tuple(has_foreground.shape)}"
        )
    return has_foreground


def unit_maps(attribution: Tensor, *, normalize: bool) -> Tensor:
    """Return attributions as ``(B, H, W)`` in [0, 1], stretched to it first if ``normalize``.

    Raises:
        ValueError: as :func:`batch_of_maps` and :func:`check_unit_range`.
    """
    maps = batch_of_maps(attribution)
    if normalize and maps.numel():
        return minmax_normalize(maps)
    check_unit_range(maps)
    return maps


def minmax_normalize(maps: Tensor) -> Tensor:
    """Stretch each of the ``(B, H, W)`` or ``(B, 1, H, W)`` maps to [0, 1]; a constant map becomes zeros.

    Example:
        >>> minmax_normalize(torch.tensor([[[-1.0, 0.0, 3.0]], [[2.0, 2.0, 2.0]]]))
        tensor([[[0.0000, 0.2500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000]]])
    """
    low, high = maps.flatten(1).aminmax(dim=1)
    shape = (-1,) + (1,) * (maps.ndim - 1)
    low, extent = low.view(shape), (high - low).view(shape)
    return torch.where(extent > 0, (maps - low) / extent, 0.0)


def check_unit_range(values: Tensor, name: str = "attribution") -> None:
    """Refuse values outside [0, 1].

    Raises:
        ValueError: if a value is outside; the message names the range found.
    """
    if values.numel() == 0:
        return
    low, high = torch.stack(torch.aminmax(values)).tolist()
    if low < 0 or high > 1:
        raise ValueError(f"{name} has to lie in [0, 1], but ranges from {low:.6g} to {high:.6g}; rescale it first")


def _without_channel(values: Tensor, name: str) -> Tensor:
    if values.ndim == 4 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 3:
        raise ValueError(f"{name} has to be (B, 1, H, W) or (B, H, W), not {tuple(values.shape)}")
    return values
