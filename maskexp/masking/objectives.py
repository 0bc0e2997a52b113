"""What a mask is asked to be: its area, and how the target is annealed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def annealed_target(epoch: int, target: float, anneal_epochs: int, start: float = 1.0) -> float:
    r"""Return the target area of an epoch: linear from ``start`` to ``target``, then constant.

    :math:`\tau(e) = \tau_0 - (\tau_0 - \tau) \min(e / E, 1)` (AIM; the annealing period :math:`E` is not published).

    Args:
        epoch: 0-based epoch :math:`e`.
        target: final active-area fraction :math:`\tau` in (0, 1].
        anneal_epochs: :math:`E`, epochs until the target is reached; 0 asks for the target from the start.
        start: :math:`\tau_0`, the fraction asked for in epoch 0.

    Example:
        >>> [round(annealed_target(epoch, 0.35, 10), 3) for epoch in (0, 1, 5, 10, 11)]
        [1.0, 0.935, 0.675, 0.35, 0.35]
    """
    progress = 1.0 if anneal_epochs <= 0 else min(epoch / anneal_epochs, 1.0)
    return start - (start - target) * progress


def active_fractions(masks: Sequence[Tensor]) -> Tensor:
    """Return the active share of each mask over the whole batch of all ranks, ``(n,)`` in [0, 1].

    Under a distributed run the value is the mean over ranks while the gradient is that of the local share, so
    that averaging gradients over ranks gives exactly the gradient of one process with the whole batch. (A loss
    that squares the local share would not: it is not linear in the share.) Ranks must hold batches of equal size.
    All shares travel together, because each exchange makes every rank wait.

    Args:
        masks: ``(B, 1, h_i, w_i)`` each.
    """
    local = torch.stack([mask.float().mean() for mask in masks])
    return local + (mean_over_ranks(local) - local.detach())


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean over ranks of each value, without a gradient; the values themselves in a single process."""
    everywhere = values.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(everywhere, op=dist.ReduceOp.SUM)
        everywhere /= dist.get_world_size()
    return everywhere


def area_loss(masks: Sequence[Tensor], target: float) -> Tensor:
    r"""Return :math:`\sum_i (r_i - \tau)^2` over stage masks, with :math:`r_i` their :func:`active_fractions`.

    Two-sided: being sparser than the target costs as well (AIM, area loss; that :math:`r_i` is the mean over the
    batch follows its first author's earlier released code).

    Args:
        masks: one ``(B, 1, h_i, w_i)`` mask per stage, each in [0, 1].
        target: :math:`\tau` in (0, 1].

    Example:
        >>> half = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> round(float(area_loss([half], 0.35)), 4)
        0.0225
    """
    return ((active_fractions(masks) - target) ** 2).sum()
