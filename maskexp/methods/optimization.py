"""Parameter groups and the learning-rate schedules that all methods share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from maskexp.models.network import Network

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "multistep", "constant"]


def parameter_groups(network: Network, lr: float, backbone_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Sort the trainable parameters by learning rate and by weight decay.

    The backbone's parameters learn with ``backbone_lr``, all others with ``lr``. Biases and norms do not decay.
    """
    old = {id(parameter) for parameter in network.backbone_parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            rate = backbone_lr if id(parameter) in old else lr
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def cosine_with_warmup(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup_steps: int, decay: bool = True
) -> LambdaLR:
    """Return a schedule that rises linearly over ``warmup_steps`` and then falls to zero along a cosine.

    Args:
        optimizer: the optimiser to steer; each group keeps its own peak rate.
        total_steps: optimiser steps of the whole training.
        warmup_steps: steps until the peak.
        decay: stay at the peak instead of falling if False.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))) if decay else 1.0

    return LambdaLR(optimizer, factor)


def multistep_with_warmup(
    optimizer: torch.optim.Optimizer, milestones: Sequence[int], gamma: float, warmup_steps: int
) -> LambdaLR:
    """Return a schedule that rises linearly over ``warmup_steps`` and then falls by ``gamma`` at each milestone.

    Args:
        optimizer: the optimiser to steer; each group keeps its own peak rate.
        milestones: optimiser steps after which the rate falls, increasing.
        gamma: factor at each milestone.
        warmup_steps: steps until the peak.
    """

    def factor(step: int) -> float:
        rise = min((step + 1) / warmup_steps, 1.0) if warmup_steps else 1.0
        return rise * float(gamma ** bisect_right(milestones, step))

    return LambdaLR(optimizer, factor)
