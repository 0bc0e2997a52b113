"""The step-wise schedule: the learning rates of the released code of COMET, and the settings of optimisers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, COMET, ERM, DynConv, Method
from maskexp.methods.optimization import create_optimizer, multistep_with_warmup

STEPS_PER_EPOCH = 355


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 5e-4 / 710),
        (355, 2.5e-4),
        (710, 5e-4),
        (81 * 355, 5e-4),
        (81 * 355 + 1, 1e-4),
        (121 * 355 + 1, 2e-5),
        (161 * 355 + 1, 4e-6),
    ],
    ids=["first step", "epoch 1", "epoch 2", "epoch 81", "epoch 82", "epoch 122", "epoch 162"],
)
def test_rates_of_the_released_code(step: int, rate: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)
    milestones = [epoch * STEPS_PER_EPOCH for epoch in (81, 121, 161)]
    schedule = multistep_with_warmup(optimizer, milestones, 0.2, warmup_steps=2 * STEPS_PER_EPOCH)
    assert 5e-4 * schedule.lr_lambdas[0](step - 1) == pytest.approx(rate)


def test_milestones_are_epochs_of_the_training(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    method = ERM(
        backbone="small_convnet",
        weights=None,
        lr=1.0,
        backbone_lr=1.0,
        schedule="multistep",
        milestones=[2, 1],
        gamma=0.5,
        warmup_epochs=0.5,
    )
    run = trainer(max_epochs=3)
    run.fit(method, birds)  # two steps an epoch
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25)


def test_milestones_are_needed() -> None:
    with pytest.raises(ValueError, match=r"give --model\.milestones"):
        ERM(backbone="small_convnet", weights=None, schedule="multistep")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw", lambda groups: torch.optim.AdamW(groups, lr=0.1)),
        ("sgd", lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9)),
    ],
)
def test_timms_optimisers_step_as_torchs_do(name: str, make: Callable[..., torch.optim.Optimizer]) -> None:
    def groups(weight: torch.nn.Parameter) -> list[dict[str, object]]:
        return [{"params": [weight], "lr": 0.1, "weight_decay": 0.05}]

    start = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    ours, theirs = create_optimizer(name, groups(weights[0]), 0.1), make(groups(weights[1]))
    assert type(ours) is type(theirs)
    for _ in range(5):
        for weight, optimizer in zip(weights, (ours, theirs), strict=True):
            (weight**3).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert torch.equal(*weights)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())


def test_any_optimiser_of_timm_trains(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.fit(ERM(backbone="small_convnet", weights=None, optimizer="lion"), birds)
    assert type(run.optimizers[0]).__name__ == "Lion"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"optimizer": "adamv"}, "there is no optimizer 'adamv'; did you mean"),
        ({"optimizer": None}, "there is no optimizer None"),
        ({"lr": -1.0}, "lr is -1.0; it must be at least 0"),
        ({"lr": float("nan")}, "lr is nan; it must be at least 0"),
        ({"backbone_lr": float("inf")}, "backbone_lr is inf; it must be finite"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it must be at least 0"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; it must be at least 0"),
        ({"gamma": -5}, "gamma is -5; it must be above 0 and at most 1"),
        ({"gamma": 0.2}, "gamma is 0.2, but the schedule is cosine, which falls at no milestones"),
        ({"schedule": None}, "unknown schedule None; choose cosine, multistep, constant"),
        ({"schedule": "multistep", "milestones": [0]}, "milestones are"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ERM(backbone="small_convnet", weights=None, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "name"), [(AIM, "initial_bias"), (AIM, "tau"), (COMET, "gap"), (DynConv, "budget")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_setting_may_be_nan_or_infinite(method: type[Method], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is (nan|inf)"):
        method(backbone="small_convnet", weights=None, **{name: value})
