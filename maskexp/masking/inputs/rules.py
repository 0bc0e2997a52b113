"""Rules for the operations that look at no window: normalisation, layout, concatenation.

:data:`POINTWISE` names those that treat each position by itself and need no rule of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.inputs import windows
from maskexp.masking.inputs.features import MaskedFeatures, NoRuleError, Rule

POINTWISE = frozenset(
    {
        # activations
        *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "gelu", "silu", "silu_"),
        *("mish", "tanh", "tanh_", "sigmoid", "sigmoid_", "hardtanh", "hardtanh_", "hardsigmoid", "hardswish"),
        *("hardswish_", "hardsigmoid_", "softplus", "clamp", "clamp_", "dropout", "dropout2d"),
        # arithmetic; the sum of a residual block is visible where both its branches are
        *("add", "add_", "sub", "sub_", "rsub", "__rsub__", "mul", "mul_", "div", "div_", "neg", "addcmul"),
        *("maximum", "minimum", "ge", "gt", "le", "lt"),
        # the same values in another form
        *("float", "half", "bfloat16", "to", "type", "clone", "contiguous", "detach"),
    }
)


def batch_norm(
    features: MaskedFeatures,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> MaskedFeatures:
    """Normalise with running statistics, position by position."""
    _require(features, "batch_norm")
    if training:
        raise NoRuleError("batch_norm with statistics of the batch, which looks at all positions")
    values = F.batch_norm(features.plain, running_mean, running_var, weight, bias, False, momentum, eps)
    return features.derive(values, features.visible, margin=features.margin)


def layer_norm(features: MaskedFeatures, normalized_shape: Sequence[int], *args: Any, **kwargs: Any) -> MaskedFeatures:
    """Normalise over the channels of each position."""
    _require(features, "layer_norm")
    if len(normalized_shape) != 1 or features.channel != features.plain.ndim - 1:
        raise NoRuleError("layer_norm over more than the channels")
    return features.derive(F.layer_norm(features.plain, normalized_shape, *args, **kwargs), features.visible)


def linear(features: MaskedFeatures, weight: Tensor, bias: Tensor | None = None) -> MaskedFeatures:
    """Map the channels of each position."""
    _require(features, "linear")
    if features.channel != features.plain.ndim - 1:
        raise NoRuleError("linear over an axis of positions")
    return features.derive(F.linear(features.plain, weight, bias), features.visible)


def permute(features: MaskedFeatures, *dims: Any) -> MaskedFeatures:
    """Reorder axes; the batch stays first."""
    _require(features, "permute")
    order = [axis % features.plain.ndim for axis in (dims[0] if len(dims) == 1 else dims)]
    if order[0] != 0:
        raise NoRuleError("permute that moves the batch")
    return features.derive(
        features.plain.permute(order), features.visible.permute(order), channel=order.index(features.channel)
    )


def flatten(features: MaskedFeatures, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Lay all positions of an image out in a row, the hidden ones as 0; the mask ends here."""
    _require(features, "flatten")
    if start_dim != 1 or end_dim not in (-1, features.plain.ndim - 1):
        raise NoRuleError("flatten that mixes images, or makes tokens of positions")
    return features.zeroed().flatten(1)


def reshape(features: MaskedFeatures, *shape: Any) -> Tensor:
    """Lay all positions of an image out in a row as :func:`flatten` does; no other shape has a rule."""
    _require(features, "reshape")
    size = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    batch = features.plain.shape[0]
    if len(size) != 2 or size[0] != batch or size[1] not in (-1, math.prod(features.plain.shape[1:])):
        raise NoRuleError("reshape that keeps positions apart")
    return features.zeroed().flatten(1)


def concatenate(parts: Sequence[MaskedFeatures], dim: int = 0) -> MaskedFeatures:
    """Concatenate channels.

    Parallel branches of one input (the fire modules of SqueezeNet) are visible where any of them is. Where one part was
    computed from another (DenseNet), what the majority of the parts says holds. Both are what the released code means;
    its values differ for these two families, and that one rule tells them apart is ours.
    """
    for part in parts:
        _require(part, "cat")
    first = parts[0]
    if dim % first.plain.ndim != first.channel or any(part.channel != first.channel for part in parts):
        raise NoRuleError("cat of anything but channels")
    votes = torch.stack([part.visible for part in parts]).sum(0)
    numbers = [1 << part.number for part in parts]
    dense = any(part.ancestors & number for part in parts for number in numbers)
    visible = 2 * votes > len(parts) if dense else votes > 0
    values = torch.cat([part.zeroed() for part in parts], dim)
    return first.derive(values, visible, parents=tuple(parts[1:]))


def take_channels(features: MaskedFeatures, index: Any) -> MaskedFeatures:
    """Take a slice of the channels."""
    _require(features, "indexing")
    steps = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(step, slice) or step is Ellipsis for step in steps):
        raise NoRuleError("indexing of anything but channels")
    return features.derive(_same_grid(features, features.plain[index]), features.visible)


def split(features: MaskedFeatures, sizes: Any, dim: int = 0) -> tuple[MaskedFeatures, ...]:
    """Split the channels into parts of given sizes."""
    _require(features, "split")
    parts: tuple[Tensor, ...] = torch.split(features.plain, sizes, dim)
    return tuple(features.derive(_same_grid(features, part), features.visible) for part in parts)


def chunk(features: MaskedFeatures, chunks: int, dim: int = 0) -> tuple[MaskedFeatures, ...]:
    """Split the channels into a number of parts."""
    _require(features, "chunk")
    parts = features.plain.chunk(chunks, dim)
    return tuple(features.derive(_same_grid(features, part), features.visible) for part in parts)


RULES: dict[str, Rule] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "permute": permute,
    "flatten": flatten,
    "reshape": reshape,
    "view": reshape,
    "__getitem__": take_channels,
    "split": split,
    "chunk": chunk,
    "cat": concatenate,
    "concat": concatenate,
    "concatenate": concatenate,
    **windows.RULES,
}
"""What to do for an operation on masked features, by the operation's name."""


def _same_grid(features: MaskedFeatures, part: Tensor) -> Tensor:
    """Return a part of the features, or refuse one that is not made of whole channels."""
    if part.ndim != features.plain.ndim or part.narrow(features.channel, 0, 1).shape != features.visible.shape:
        raise NoRuleError("a part of the features other than channels")
    return part


def _require(features: Any, name: str) -> None:
    """Refuse an operand that is not masked, or whose margin this operation does not know how to treat."""
    if not isinstance(features, MaskedFeatures):
        raise NoRuleError(f"{name} of visible and always known features together")
    if features.margin is not None and name != "batch_norm":
        raise NoRuleError(f"{name} right behind an explicit padding")
