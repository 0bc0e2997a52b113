"""The step-wise schedule: the learning rates that COMET's released code was seen to use (T6 of the fact sheet)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import ERM
from maskexp.methods.optimization import multistep_with_warmup

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
