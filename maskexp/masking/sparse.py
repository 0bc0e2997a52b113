"""Convolutions at the active positions alone: gather them, multiply, scatter the result.

A mask that is only multiplied saves nothing. Here a layer runs on a matrix with one row per active position. The result
equals the dense one up to the order of its sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_POINTWISE = (
    nn.BatchNorm2d,
    nn.Identity,
    nn.Dropout,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
)
"""Layers that, in evaluation, treat each position by itself."""


@dataclass(frozen=True, slots=True)
class ActivePositions:
    """Features at some positions of a batch of maps.

    Attributes:
        rows: ``(n, C)`` features.
        index: ``(n,)`` position of each row in the flattened grid.
        grid: (batch, height, width).
    """

    rows: Tensor
    index: Tensor
    grid: tuple[int, int, int]

    @classmethod
    def everywhere(cls, features: Tensor) -> ActivePositions:
        """Return all positions of ``(B, C, h, w)`` features; a view if they are laid out channels-last."""
        batch, channels, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
        return cls(rows, torch.arange(len(rows), device=rows.device), (batch, height, width))

    def add_to(self, features: Tensor) -> Tensor:
        """Return ``(B, C, h, w)`` features plus these, which add nothing where they have no position."""
        batch, height, width = self.grid
        base = features.permute(0, 2, 3, 1).reshape(batch * height * width, -1)
        result = base.index_add(0, self.index, self.rows.to(base.dtype))
        return result.view(batch, height, width, -1).permute(0, 3, 1, 2)

    def dense(self) -> Tensor:
        """Return ``(B, C, h, w)`` features, 0 where there is no position."""
        batch, height, width = self.grid
        result = self.rows.new_zeros(batch * height * width, self.rows.shape[1])
        return result.index_copy(0, self.index, self.rows).view(batch, height, width, -1).permute(0, 3, 1, 2)


def check_sparse(layers: Sequence[nn.Module], where: str) -> None:
    """Refuse layers that cannot be run position by position.

    Args:
        layers: the first is a convolution of any kernel, the others work on each position by itself.
        where: what they belong to, for the error.

    Raises:
        ValueError: if a layer mixes positions in another way.
    """
    first, *others = layers
    for layer in others:
        pointwise = isinstance(layer, _POINTWISE) or (isinstance(layer, nn.Conv2d) and _keeps_positions(layer))
        if not pointwise:
            raise ValueError(
                f"{where} has a {type(layer).__name__}, which does not treat each position by itself; run it dense"
            )
    if not isinstance(first, nn.Conv2d) or first.padding_mode != "zeros" or isinstance(first.padding, str):
        raise ValueError(f"{where} does not begin with a convolution with zero padding; run it dense")


def run_at(layers: Sequence[nn.Module], source: ActivePositions, active: Tensor) -> ActivePositions:
    """Run layers at the active positions alone.

    Args:
        layers: a convolution of any kernel and layers that work on each position by itself, in evaluation mode, see
            :func:`check_sparse`.
        source: the convolution's input; positions that it lacks count as 0.
        active: ``(B, 1, h, w)`` mask on the convolution's outputs.
    """
    first, *others = layers
    batch, _, height, width = active.shape
    index = active.flatten().nonzero().squeeze(1)
    rows = _convolve(cast(nn.Conv2d, first), source, index, (height, width))
    for layer in others:
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            rows = F.linear(rows, layer.weight.flatten(1), layer.bias)
        else:
            rows = layer(rows[:, :, None, None]).flatten(1)
    return ActivePositions(rows, index, (batch, height, width))


def run_masked(
    first: Sequence[nn.Module], rest: Sequence[nn.Module], features: Tensor, mask: Tensor, needed: Tensor
) -> ActivePositions:
    """Run ``rest(first(features))`` at the positions of a mask, and ``first`` where these need it.

    Args:
        first: layers as for :func:`run_at`.
        rest: layers as for :func:`run_at`.
        features: ``(B, C, h, w)``, read fastest if laid out channels-last.
        mask: ``(B, 1, h', w')`` on the outputs.
        needed: mask on the outputs of ``first``, what the first layer of ``rest`` reads
            (:func:`~maskexp.masking.dilate_mask`).
    """
    return run_at(rest, run_at(first, ActivePositions.everywhere(features), needed), mask)


def check_share(below: float) -> None:
    """Refuse a share of active positions that is none.

    Raises:
        ValueError: if ``below`` is not in [0, 1].
    """
    if not 0 <= below <= 1:
        raise ValueError(f"sparse_below is {below}; the share of active positions must lie in [0, 1]")


def _convolve(conv: nn.Conv2d, source: ActivePositions, index: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a convolution at the positions ``index`` of its output grid of ``size``, ``(n, C_out)``."""
    if _keeps_positions(conv) and conv.groups == 1 and len(source.index) == source.grid[0] * size[0] * size[1]:
        return F.linear(source.rows[index], conv.weight.flatten(1), conv.bias)
    windows = _windows(conv, source, index, size)
    if conv.groups == 1:
        kernel = conv.weight.permute(0, 2, 3, 1).reshape(conv.out_channels, -1)
        return F.linear(windows.flatten(1), kernel, conv.bias)
    images = windows.permute(0, 2, 1).reshape(len(index), conv.in_channels, *conv.kernel_size)
    return F.conv2d(images, conv.weight, conv.bias, groups=conv.groups).flatten(1)


def _windows(conv: nn.Conv2d, source: ActivePositions, index: Tensor, size: tuple[int, int]) -> Tensor:
    """Gather what a convolution sees from each output position, ``(n, kernel positions, C)``."""
    batch, height, width = source.grid
    above, left = (int(padding) for padding in conv.padding)
    zero = len(source.rows)  # the row behind the last one holds zeros: padding, and positions that are not there
    row_of = torch.full((batch * height * width,), zero, device=index.device)
    row_of[source.index] = torch.arange(zero, device=index.device)
    row_of = F.pad(row_of.view(batch, height, width), (left, left, above, above), value=zero)

    per_map = size[0] * size[1]
    image, row, column = index // per_map, index % per_map // size[1], index % size[1]
    corner = (image * row_of.shape[1] + row * conv.stride[0]) * row_of.shape[2] + column * conv.stride[1]
    down, right = (torch.arange(conv.kernel_size[axis], device=index.device) * conv.dilation[axis] for axis in (0, 1))
    rows = row_of.flatten()[corner[:, None] + (down[:, None] * row_of.shape[2] + right).flatten()]
    return torch.cat([source.rows, source.rows.new_zeros(1, source.rows.shape[1])])[rows]


def _keeps_positions(conv: nn.Conv2d) -> bool:
    """Return whether each output of a convolution is computed from the input at the same position."""
    return conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0)
