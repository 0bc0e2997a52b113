"""DynConv's objective and its schedules; what it logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from maskexp.data import SyntheticBirds
from maskexp.methods import DynConv
from maskexp.models import DynConvNetwork
from maskexp.types import Batch, Prediction
from tests.defaults import network_defaults

SMALL = {"backbone": "test_resnet", "weights": None}
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
LABEL = torch.tensor([0, 1])


def method(epoch: int = 0, max_epochs: int = 100, **options: Any) -> DynConv:
    torch.manual_seed(0)
    result = DynConv(**SMALL | options)
    result.network = DynConvNetwork(
        "test_resnet", 2, weights=None, image_size=(64, 64), **network_defaults(DynConv, DynConvNetwork)
    )
    trainer = Trainer(max_epochs=max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit_loop.epoch_progress.current.completed = epoch
    result.trainer = trainer
    return result


def objective(chosen: DynConv, prediction: Prediction) -> dict[str, float]:
    batch: Batch = {"label": LABEL}  # type: ignore[typeddict-item]
    return {name: term.item() for name, term in chosen.objective(prediction, batch).items()}


def masks(chosen: DynConv, value: float) -> Prediction:
    prediction = chosen.network(IMAGES)
    network: Any = chosen.network
    result: Prediction = network(IMAGES, [torch.full_like(mask, value) for mask in prediction.masks])
    return result


def test_a_full_budget_and_full_masks_cost_nothing() -> None:
    chosen = method(budget=1.0)
    prediction = masks(chosen, 1.0)
    terms = objective(chosen, prediction)
    assert (terms["loss_budget"], terms["loss_blocks"]) == (0, 0)
    assert terms["loss_cls"] == pytest.approx(F.cross_entropy(prediction.logits, LABEL).item())


@pytest.mark.parametrize(("epoch", "upper"), [(0, 0.25), (10, 0.4075), (33, 1.0)])
def test_blocks_are_bound_at_first_and_the_network_always(epoch: int, upper: float) -> None:
    chosen = method(epoch, budget=0.25)
    terms = objective(chosen, masks(chosen, 1.0))
    assert terms["loss_budget"] == pytest.approx(10 * 0.75**2)
    assert terms["loss_blocks"] == pytest.approx(10 * (1 - upper) ** 2, abs=1e-3)


@pytest.mark.parametrize(
    ("epoch", "temperature", "noise"),
    [(0, 5.0, True), (30, 2.5, True), (60, 1.0, True), (80, 1.0, True), (81, 1.0, False)],
)
def test_temperature_and_noise_follow_the_released_code(epoch: int, temperature: float, noise: bool) -> None:
    chosen = method(epoch, temperatures=[5.0, 2.5, 1.0], temperature_milestones=[0.3, 0.6])
    chosen.on_train_batch_start({}, 0)  # type: ignore[typeddict-item]
    binarizer = chosen.network.binarizer
    assert (binarizer.temperature, binarizer.train_noise) == (temperature, noise)
    once, twice = (chosen.network.train()(IMAGES).masks for _ in range(2))
    assert all(map(torch.equal, once, twice)) != noise


def test_the_schedules_need_a_bounded_training() -> None:
    with pytest.raises(ValueError, match=r"DynConv anneals .* set trainer\.max_epochs"):
        method(max_epochs=-1).on_train_batch_start({}, 0)  # type: ignore[typeddict-item]


def test_a_training_resumed_inside_an_epoch_has_that_epoch_s_temperature_and_noise(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"temperatures": [5.0, 2.0], "temperature_milestones": [0.5], "noise_until": 0.0}
    saving = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    trainer(max_epochs=2, limit_val_batches=0, enable_checkpointing=True, callbacks=[saving]).fit(
        DynConv(**SMALL, **options), birds
    )
    resumed = DynConv(**SMALL, **options)
    run = trainer(max_epochs=2, limit_val_batches=0)
    run.fit(resumed, birds, ckpt_path=tmp_path / "step=3.ckpt")  # one of the two batches of the second epoch is left
    assert run.global_step == 4
    binarizer = cast(DynConvNetwork, resumed.network).binarizer
    assert (binarizer.temperature, binarizer.train_noise) == (2.0, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": -0.1}, r"budget is -0.1; .* must lie in \[0, 1\]"),
        ({"budget": 1.1}, r"budget is 1.1; .* must lie in \[0, 1\]"),
        ({"budget": float("nan")}, "budget is nan; it must be a finite number"),
        ({"budget_weight": -1.0}, "budget_weight is -1.0"),
        ({"budget_weight": float("nan")}, "budget_weight is nan; it must be a finite number"),
        ({"budget_weight": float("inf")}, "budget_weight is inf; it must be a finite number"),
        ({"noise_until": 1.5}, "noise_until are .*1.5"),
        ({"temperatures": [2.0, 1.0]}, "2 temperatures and 0 temperature_milestones"),
        ({"temperatures": [2.0, 1.0, 0.5], "temperature_milestones": [0.6, 0.3]}, "must not decrease"),
        ({"temperatures": [0.0]}, "each must be greater than 0"),
        ({"temperatures": [float("nan")]}, "each must be greater than 0 and finite"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynConv(**SMALL, **options)


def test_masks_reach_the_log(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.fit(DynConv(**SMALL), birds)
    assert {"train/loss_budget", "train/loss_blocks", "val/acc_worst_group", "val/epg"} <= set(run.callback_metrics)
    assert {"val/mask_area", "val/mask_area_stage_4"} <= set(run.callback_metrics)
    assert run.callback_metrics["val/macs"] > 0
