r"""A budget of multiply-accumulates (MACs) for masked residual blocks.

Verelst & Tuytelaars: "Dynamic Convolutions: Exploiting Spatial Sparsity for Faster Inference", CVPR 2020, and its
released code. A block *b* computes some layers at the positions of its mask and others at those of the dilated mask, so
that its share of MACs is

.. math:: p_b = \frac{A_d F_d + A_s F_s}{N_d F_d + N_s F_s}

with *A* active of *N* positions and *F* MACs a position, *d* for the dilated mask and *s* for the mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maskexp.masking.objectives import active_fractions


class PositionMACs(NamedTuple):
    """MACs a position of the layers of a block that run on its dilated mask, and of those that run on its mask."""

    dilated: int
    mask: int


def budget_bounds(epoch: int, epochs: int, budget: float, period: float = 0.33) -> tuple[float, float]:
    r"""Return the least and the largest share of MACs that a single block may have in an epoch.

    With :math:`\rho(e) = \cos^2(\frac{\pi}{2} \min(e / (0.33 E), 1))` the bounds are
    :math:`[\rho \theta,\ 1 - \rho (1 - \theta)]`: at first every block keeps the budget by itself, after a third of the
    training only the network as a whole has to (released code).

    Args:
        epoch: 0-based epoch :math:`e`.
        epochs: :math:`E`, epochs of the training.
        budget: :math:`\theta` in [0, 1].
        period: share of the training after which the bounds are [0, 1].

    Example:
        >>> [tuple(round(bound, 4) for bound in budget_bounds(epoch, 100, 0.25)) for epoch in (0, 10, 33)]
        [(0.25, 0.25), (0.1975, 0.4075), (0.0, 1.0)]
    """
    progress = min(epoch / (period * epochs), 1.0) if epochs > 0 else 1.0
    strictness = math.cos(math.pi / 2 * progress) ** 2
    return strictness * budget, 1 - strictness * (1 - budget)


def mac_shares(
    masks: Sequence[Tensor], dilated: Sequence[Tensor], macs: Sequence[PositionMACs]
) -> tuple[Tensor, Tensor]:
    """Return each block's share of MACs, ``(blocks,)``, and that of all blocks together, a scalar; both in [0, 1].

    The shares are of the whole batch of all ranks. A gradient reaches the masks alone, although the dilated ones enter
    the value (released code).

    Args:
        masks: ``(B, 1, h_s, w_s)`` mask of each block.
        dilated: ``(B, 1, h_d, w_d)`` dilated mask of each block.
        macs: of each block.
    """
    fractions = active_fractions([*(wide.detach() for wide in dilated), *masks]).view(2, -1)
    costs = [
        [block.dilated * wide[0].numel() for wide, block in zip(dilated, macs, strict=True)],
        [block.mask * mask[0].numel() for mask, block in zip(masks, macs, strict=True)],
    ]
    whole = torch.tensor(costs, device=fractions.device)
    spent = (fractions * whole).sum(dim=0)
    return spent / whole.sum(dim=0), spent.sum() / whole.sum()


def network_budget_loss(share: Tensor, budget: float) -> Tensor:
    r"""Return :math:`(P - \theta)^2` for the share of MACs :math:`P` of the network."""
    return (share - budget) ** 2


def block_bounds_loss(shares: Tensor, lower: float, upper: float) -> Tensor:
    r"""Return the mean over blocks of :math:`\max(0, p_b - u)^2 + \max(0, l - p_b)^2`."""
    return ((shares - upper).clamp(min=0) ** 2 + (lower - shares).clamp(min=0) ** 2).mean()
