"""Which inputs of a convolution its active outputs need."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolved_size(size: Sequence[int], conv: nn.Conv2d) -> tuple[int, int]:
    """Return (height, width) of what a convolution gives for a map of (height, width) ``size``."""
    height, width = (
        (size[axis] + 2 * int(conv.padding[axis]) - conv.dilation[axis] * (conv.kernel_size[axis] - 1) - 1)
        // conv.stride[axis]
        + 1
        for axis in (0, 1)
    )
    return height, width


def dilate_mask(mask: Tensor, conv: nn.Conv2d, size: Sequence[int]) -> Tensor:
    """Return the positions that a convolution reads for its active outputs.

    For a 3×3 convolution this is the dilation by a 3×3 square, and with stride *s* each cell *(i, j)* is first laid on
    *(s i, s j)* (Verelst & Tuytelaars, CVPR 2020, released code). No gradient passes: as there, the dilated mask is a
    fact about cost and not a lever.

    Args:
        mask: ``(B, 1, h, w)`` in {0, 1} on the outputs of ``conv``.
        conv: the convolution.
        size: (height, width) of the inputs of ``conv``.

    Returns:
        ``(B, 1, *size)`` in {0, 1}, the type of the mask.
    """
    with torch.no_grad():
        ones = mask.new_ones(1, 1, *conv.kernel_size)
        padding = (int(conv.padding[0]), int(conv.padding[1]))
        covered = [
            (mask.shape[2 + axis] - 1) * conv.stride[axis]
            - 2 * padding[axis]
            + conv.dilation[axis] * (conv.kernel_size[axis] - 1)
            + 1
            for axis in (0, 1)
        ]
        rest = [size[axis] - covered[axis] for axis in (0, 1)]
        reads = F.conv_transpose2d(mask, ones, None, conv.stride, padding, rest, dilation=conv.dilation)
        return (reads > 0).to(mask.dtype)
