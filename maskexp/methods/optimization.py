"""Parameter groups and the learning-rate schedules that all methods share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import timm.optim as timm_optim
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from maskexp.models.network import Network
from maskexp.suggestions import did_you_mean

Schedule = Literal["cosine", "multistep", "constant"]

_TIMM: Any = timm_optim  # it has no types for what it exports


def check_optimizer(name: str) -> None:
    """Refuse an optimiser that timm does not have.

    Raises:
        ValueError: if there is none of this name.
    """
    known: list[str] = _TIMM.list_optimizers()
    if name not in known:
        hint = did_you_mean(str(name), known, "timm.optim.list_optimizers() names them all")
        raise ValueError(f"there is no optimizer {name!r}; {hint}")


def create_optimizer(name: str, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """Return an optimiser of timm by its name, with momentum 0.9 where it has one.

    ``sgd`` is the plain one, without Nesterov's momentum, for which timm has the name ``nesterov``.

    Args:
        name: of the optimiser, as in ``timm.optim.list_optimizers()``.
        groups: parameter groups with learning rate and weight decay.
        lr: learning rate of groups that have none.

    Raises:
        ValueError: if the optimiser needs a device or a package that is not here.
    """
    options = {"nesterov": False} if name == "sgd" else {}
    try:
        optimizer: torch.optim.Optimizer = _TIMM.create_optimizer_v2(groups, name, lr=lr, momentum=0.9, **options)
    except (AssertionError, ImportError, NameError) as error:
        raise ValueError(
            f"the optimizer {name!r} needs a GPU or a package that is not here; choose another one, e.g. adamw"
        ) from error
    return optimizer


def require_in_range(name: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Refuse a setting that is not a finite number of a range.

    Args:
        name: of the setting.
        value: of the setting.
        low: smallest value.
        high: largest value.
        above: whether the smallest value itself is refused.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(value, (int, float)) or not (low < value if above else low <= value) or not value <= high:
        wanted = f"above {low:g}" if above else f"at least {low:g}"
        raise ValueError(
            f"{name} is {value}; it must be {wanted} and {'finite' if high == math.inf else f'at most {high:g}'}"
        )
    if math.isinf(value):
        raise ValueError(f"{name} is {value}; it must be finite")


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


def regrouped(
    state: dict[str, Any], before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return an optimiser's state for parameter groups with other rates, in which parameters may stand elsewhere.

    Args:
        state: ``state_dict()`` of the optimiser.
        before: the parameter groups that it belongs to, of the same network.
        now: the parameter groups that it is to be for.
    """
    place = {id(parameter): i for i, parameter in enumerate(p for group in before for p in group["params"])}
    moved: dict[int, Any] = {}
    groups: list[dict[str, Any]] = []
    common = {key: value for key, value in state["param_groups"][0].items() if key not in ("params", "initial_lr")}
    first = 0
    for group in now:
        for i, parameter in enumerate(group["params"], start=first):
            if (old := place[id(parameter)]) in state["state"]:
                moved[i] = state["state"][old]
        rates = {key: group[key] for key in ("lr", "weight_decay")}
        groups.append(common | rates | {"params": list(range(first, first + len(group["params"])))})
        first += len(group["params"])
    return {**state, "state": moved, "param_groups": groups}


def plan_anew(
    optimizer: torch.optim.Optimizer, schedule: LambdaLR | None, peaks: Sequence[float], step: int
) -> float | None:
    """Set the learning rates that a resumed training has by its own settings, where the restored ones are others.

    Args:
        optimizer: with one group for each of ``peaks``.
        schedule: as it was restored; one that the checkpoint did not know begins at ``step``.
        peaks: learning rate of each group at its peak.
        step: optimiser steps done so far.

    Returns:
        The new rate of the first group; None if all were right.
    """
    if schedule is not None and schedule.last_epoch == 0:
        schedule.last_epoch = step
    factors = [1.0] * len(peaks) if schedule is None else [f(schedule.last_epoch) for f in schedule.lr_lambdas]
    rates = [peak * factor for peak, factor in zip(peaks, factors, strict=True)]
    restored = [float(group["lr"]) for group in optimizer.param_groups]
    right = len(restored) == len(rates) and all(map(math.isclose, restored, rates))
    if right and (schedule is None or schedule.base_lrs == list(peaks)):
        return None
    for group, rate, peak in zip(optimizer.param_groups, rates, peaks, strict=True):
        group["lr"], group["initial_lr"] = rate, peak
    if schedule is not None:
        schedule.load_state_dict(schedule.state_dict() | {"base_lrs": [*peaks], "_last_lr": [*rates]})
    return rates[0]
