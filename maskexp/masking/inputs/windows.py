"""Rules for the operations that look at a window: convolution, pooling, padding, resizing.

Everywhere, an output is visible if its window contains a visible position (released code of layer masking, as measured;
there is no threshold), and explicit padding around the image is neither visible nor filled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.inputs.features import MaskedFeatures, NoRuleError, Rule
from maskexp.masking.inputs.neighbours import neighbour_padding

_EPSILON = 1e-8
"""Added to the visible fraction of a window by partial convolution; the value of the released code."""


def convolution(
    features: MaskedFeatures,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> MaskedFeatures:
    """Convolve what neighbour padding makes of the features; the network's own zeros stay beyond the image border."""
    _require_maps(features, "conv2d")
    kernel, dilation, stride = _pair(weight.shape[2:]), _pair(dilation), _pair(stride)
    reaches = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    reach = max(reaches)
    mode = features.propagation.padding
    around = _border(padding, kernel, dilation)

    def window(mask: Tensor) -> Tensor:
        return _any_in_window(F.pad(mask, around) if any(around) else mask, kernel, stride, dilation)

    moves = reach or stride != (1, 1) or any(around)
    how = ("window", kernel, stride, dilation, tuple(around))
    visible = features.propagation.mask(how, window, features.visible) if moves else features.visible
    # Only a padding as wide as the kernel, or a layer of its own that pads, gives windows without any of the image.
    beyond = features.margin is not None or around[3] > reaches[0] or around[1] > reaches[1]
    margin = _outside(features, window) if beyond else None
    if mode == "neighbour" and reach:
        inside = None if features.margin is None else ~features.margin
        # Hidden values are never read, so that without a gradient they may as well be the fill.
        reuse, plans = not torch.is_grad_enabled(), features.propagation.plans
        seen = neighbour_padding(
            features.plain, features.visible, reach, inside, keep=True, in_place=reuse, plans=plans
        )
    elif reach or any(around):
        seen = features.zeroed()
    else:  # position by position: what is hidden goes nowhere else
        seen = features.plain
    if mode != "partial" or not reach:
        return features.derive(F.conv2d(seen, weight, bias, stride, padding, dilation, groups), visible, margin=margin)
    share = torch.full((1, 1, *kernel), 1 / (kernel[0] * kernel[1]), device=seen.device)
    fraction = F.conv2d(F.pad(features.visible.float(), around), share, stride=stride, dilation=dilation)
    values = F.conv2d(seen, weight, None, stride, padding, dilation, groups) / (fraction + _EPSILON).to(seen.dtype)
    return features.derive(values if bias is None else values + bias.view(1, -1, 1, 1), visible, margin=margin)


def max_pooling(features: MaskedFeatures, *args: Any, **kwargs: Any) -> MaskedFeatures:
    """Take the maximum over the visible positions of a window.

    The released code lets hidden positions take part as 0, which is the same behind a ReLU. Without one, as
    in the stem of a ResNet v2, those zeros would win over negative features.
    """
    _require_maps(features, "max_pool2d")
    known = features.visible if features.margin is None else features.visible | features.margin
    values = F.max_pool2d(torch.where(known, features.plain, -torch.inf), *args, **kwargs)
    visible = F.max_pool2d(features.visible.float(), *args, **kwargs) > 0
    margin = None if features.margin is None else _outside(features, _pooled(F.max_pool2d, *args, **kwargs))
    # Zero at once: infinities could turn a gradient into NaN.
    return features.derive(
        torch.where(visible if margin is None else visible | margin, values, 0), visible, margin=margin
    )


def average_pooling(features: MaskedFeatures, *args: Any, **kwargs: Any) -> MaskedFeatures:
    """Average over a window in which hidden positions count as 0, as in the released code."""
    _require_maps(features, "avg_pool2d")
    visible = F.avg_pool2d(features.visible.float(), *args, **kwargs) > 0
    margin = None if features.margin is None else _outside(features, _pooled(F.avg_pool2d, *args, **kwargs))
    return features.derive(F.avg_pool2d(features.zeroed(), *args, **kwargs), visible, margin=margin)


def adaptive_average_pooling(features: MaskedFeatures, output_size: Any) -> Tensor:
    """Average over the visible positions of the whole map, or pool onto a grid as :func:`average_pooling` does."""
    _require_maps(features, "adaptive_avg_pool2d")
    if output_size in (1, (1, 1), [1, 1]):
        return visible_mean(features, features.spatial, keepdim=True)
    if features.margin is not None:
        raise NoRuleError("adaptive_avg_pool2d right behind an explicit padding")
    visible = F.adaptive_avg_pool2d(features.visible.float(), output_size) > 0
    return features.derive(F.adaptive_avg_pool2d(features.zeroed(), output_size), visible)


def visible_mean(features: MaskedFeatures, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Average over the visible positions, where the mask ends; nothing visible gives 0.

    The released code divides by the visible fraction + 1e-8, which rounds to the same but for tiny fractions.
    """
    features = _whole_map(features, "mean", dim)
    mean = features.zeroed().mean(features.spatial, keepdim=keepdim, dtype=dtype)
    fraction = features.visible.to(mean.dtype).mean(features.spatial, keepdim=keepdim)
    return mean / torch.where(fraction > 0, fraction, 1)


def visible_sum(features: MaskedFeatures, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Sum over the visible positions."""
    features = _whole_map(features, "sum", dim)
    return features.zeroed().sum(features.spatial, keepdim=keepdim, dtype=dtype)


def visible_norm(
    features: MaskedFeatures, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """Return the p-norm over the visible positions (the global response normalisation of ConvNeXt V2)."""
    features = _whole_map(features, "norm", dim)
    norm: Tensor = torch.linalg.vector_norm(features.zeroed(), p, features.spatial, keepdim=keepdim, dtype=dtype)
    return norm


def pad(features: MaskedFeatures, pad: Any, mode: str = "constant", value: float | None = None) -> MaskedFeatures:
    """Pad around the image: a constant is no part of it, a reflection is as visible as what it reflects."""
    _require_maps(features, "pad")
    sides = tuple(pad)
    if len(sides) not in (2, 4):
        raise NoRuleError("pad of the channels or the batch")
    values = F.pad(features.plain, sides, mode, value)  # what is hidden stays hidden
    if mode != "constant":
        return features.derive(values, F.pad(features.visible.float(), sides, mode) > 0)
    inside = torch.ones_like(features.visible[:1]) if features.margin is None else ~features.margin
    margin = ~(F.pad(inside.float(), sides) > 0)
    return features.derive(values, F.pad(features.visible.float(), sides) > 0, margin=margin)


def interpolate(features: MaskedFeatures, size: Any = None, scale_factor: Any = None, **options: Any) -> MaskedFeatures:
    """Resize by repeating cells, and the visibility with them."""
    _require_maps(features, "interpolate")
    if options.get("mode", "nearest") != "nearest":
        raise NoRuleError(f"interpolate with mode {options['mode']!r}, which mixes visible with hidden positions")
    visible = F.interpolate(features.visible.float(), size, scale_factor) > 0
    return features.derive(F.interpolate(features.zeroed(), size, scale_factor), visible)


RULES: dict[str, Rule] = {
    "conv2d": convolution,
    "max_pool2d": max_pooling,
    "avg_pool2d": average_pooling,
    "adaptive_avg_pool2d": adaptive_average_pooling,
    "mean": visible_mean,
    "sum": visible_sum,
    "norm": visible_norm,
    "pad": pad,
    "interpolate": interpolate,
}


def _pooled(pool: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Callable[[Tensor], Tensor]:
    """Return which windows of a pooling hold a True of a mask."""
    return lambda mask: pool(mask.float(), *args, **kwargs) > 0


def _any_in_window(mask: Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """Return which windows of a mask ``(B, 1, h, w)`` bool hold a True: any row, then any column of a window."""
    for axis, (size, step, apart) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        last = mask.shape[axis] - apart * (size - 1) - 1
        shifted = [mask.narrow(axis, apart * i, last + 1) for i in range(size)]
        if step > 1:
            shifted = [each[(slice(None),) * axis + (slice(None, None, step),)] for each in shifted]
        mask = reduce(torch.logical_or, shifted)
    return mask


def _outside(features: MaskedFeatures, window: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return which windows hold nothing of the image, ``(1, 1, h', w')`` bool; None if there are none."""
    inside = torch.ones_like(features.visible[:1]) if features.margin is None else ~features.margin
    outside = ~window(inside)
    return outside if bool(outside.any()) else None


def _require_maps(features: Any, name: str) -> None:
    """Refuse what is no ``(B, C, h, w)`` map."""
    if not isinstance(features, MaskedFeatures) or features.plain.ndim != 4 or features.channel != 1:
        raise NoRuleError(f"{name} of anything but a (B, C, h, w) map")


def _whole_map(features: Any, name: str, dim: Any) -> MaskedFeatures:
    """Check that a reduction runs over all spatial axes, and only them, of an image without a margin."""
    if isinstance(features, MaskedFeatures) and features.margin is None and dim is not None:
        axes = (dim,) if isinstance(dim, int) else tuple(dim)
        if sorted(axis % features.plain.ndim for axis in axes) == list(features.spatial):
            return features
    raise NoRuleError(f"{name} over anything but all positions of a map")


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else tuple(value) * (1 if len(value) == 2 else 2)
    return first, second


def _border(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> list[int]:
    """Return a convolution's padding as left, right, top, bottom."""
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
    vertical, horizontal = _pair(padding)
    return [horizontal, horizontal, vertical, vertical]
