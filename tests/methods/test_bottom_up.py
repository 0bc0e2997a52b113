"""The bottom-up baseline: its objective with and without the area loss."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer

from maskexp.callbacks import Evaluator
from maskexp.data import SyntheticBirds
from maskexp.evaluation import StandardMetrics
from maskexp.masking import area_loss
from maskexp.masking.area_control import AreaTarget
from maskexp.methods import BottomUp, load_method
from maskexp.models import AIMNetwork, BottomUpNetwork
from maskexp.types import Batch, Prediction

SMALL = {"backbone": "small_convnet", "weights": None}
LABEL = torch.tensor([0, 1, 1, 0])


def prediction() -> Prediction:
    torch.manual_seed(0)
    return Prediction(torch.randn(4, 2), masks=tuple((torch.rand(4, 1, n, n) > 0.5).float() for n in (2, 4)))


def objective(method: BottomUp, epoch: int, max_epochs: int = 10) -> dict[str, torch.Tensor]:
    trainer = Trainer(max_epochs=max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit_loop.epoch_progress.current.completed = epoch
    method.trainer = trainer
    batch: Batch = {"label": LABEL}  # type: ignore[typeddict-item]
    return method.objective(prediction(), batch)


@pytest.mark.parametrize(("epoch", "target"), [(0, 1.0), (2, 0.7), (5, 0.25), (9, 0.25)])
def test_terms_are_one_cross_entropy_and_the_annealed_area_loss(epoch: int, target: float) -> None:
    terms = objective(BottomUp(tau=0.25, **SMALL), epoch)
    assert set(terms) == {"loss_area", "loss_cls"}
    assert terms["loss_area"].item() == pytest.approx(6 * area_loss(prediction().masks, target).item())
    assert terms["loss_cls"].item() == pytest.approx(F.cross_entropy(prediction().logits, LABEL).item())


def test_without_a_weight_nothing_asks_for_sparse_masks() -> None:
    assert set(objective(BottomUp(area_weight=0, **SMALL), 9, max_epochs=-1)) == {"loss_cls"}


def test_annealing_needs_a_bounded_training() -> None:
    with pytest.raises(ValueError, match=r"BottomUp anneals .* set trainer\.max_epochs"):
        objective(BottomUp(**SMALL), 0, max_epochs=-1)
    assert "loss_area" in objective(BottomUp(anneal_fraction=0, **SMALL), 0, max_epochs=-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, r"tau is 0.0; .* \(0, 1\]"),
        ({"tau": 1.5}, r"tau is 1.5; .* \(0, 1\]"),
        ({"tau": float("nan")}, "tau is nan; it must be a finite number"),
        ({"area_weight": -1.0}, "area_weight is -1.0; it must be at least 0"),
        ({"area_weight": float("nan")}, "area_weight is nan; it must be a finite number"),
        ({"anneal_fraction": float("nan")}, "anneal_fraction is nan; it must be a finite number"),
        ({"anneal_fraction": 2.0}, "anneal_fraction is 2.0"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BottomUp(**options, **SMALL)


def test_masks_and_metrics_reach_the_log(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.fit(BottomUp(**SMALL), birds)
    assert {"train/loss_area", "val/acc_worst_group", "val/epg", "val/mask_area"} <= set(run.callback_metrics)
    assert {f"val/mask_area_stage_{stage}" for stage in (1, 2)} <= set(run.callback_metrics)


def test_its_masks_have_the_defaults_of_those_of_aim() -> None:
    aim, bottom_up = (signature(network).parameters for network in (AIMNetwork, BottomUpNetwork))
    assert {name: p.default for name, p in bottom_up.items()} == {name: aim[name].default for name in bottom_up}


def test_a_target_area_follows_the_accuracy_on_validation(tmp_path: Path) -> None:
    data = SyntheticBirds(image_size=32, batch_size=8, train_size=16, val_size=12, test_size=4)
    method = BottomUp(tau="validation", anneal_fraction=0.4, tolerance=2.0, **SMALL)
    seen: list[tuple[float, float]] = []

    class Watch(Callback):
        def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
            if not trainer.sanity_checking:
                seen.append((method.target_area, float(trainer.callback_metrics["val/acc"])))

    trainer = Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[Evaluator([StandardMetrics()]), Watch()],
    )
    trainer.fit(method, data)
    accuracies = [accuracy for _, accuracy in seen]
    assert method.area_target is not None
    assert method.area_target.best == pytest.approx(max(accuracies))
    own = AreaTarget(2.0)
    for epoch, accuracy in enumerate(accuracies, start=1):
        own.update(accuracy, 12, epoch, annealed=2)
    assert method.area_target.area == pytest.approx(own.area)
    assert [target for target, _ in seen[:2]] == pytest.approx([1.0, 0.05**0.5])
    again = BottomUp(tau="validation", anneal_fraction=0.4, tolerance=2.0, **SMALL)
    again.build(data.spec)
    again.load_state_dict(method.state_dict())
    assert again.area_target is not None
    assert again.area_target.get_extra_state().tolist() == method.area_target.get_extra_state().tolist()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    earlier = torch.load(tmp_path / "last.ckpt", weights_only=True)
    earlier["state_dict"]["area_target._extra_state"] = torch.tensor([0.07, 0.9, 3.0], dtype=torch.float64)
    torch.save(earlier, tmp_path / "earlier.ckpt")
    loaded = load_method(tmp_path / "earlier.ckpt")
    assert isinstance(loaded, BottomUp)
    assert loaded.area_target is not None
    assert loaded.area_target.get_extra_state().tolist() == [0.07, 0.9, 3.0, 1.0]


@pytest.mark.parametrize(
    ("options", "settled"),
    [
        ({}, [False, False, True, True]),
        ({"anneal_fraction": 0.0}, [True, True, True, True]),
        ({"anneal_fraction": 1.0}, [False, False, False, True]),
        ({"area_weight": 0.0}, [True, True, True, True]),
        ({"tau": "validation"}, [False, False, True, True]),
    ],
)
def test_the_masks_are_what_was_asked_for_from_the_end_of_the_annealing_on(
    options: dict[str, Any], settled: list[bool]
) -> None:
    method = BottomUp(**SMALL | options)
    method.trainer = Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    found = []
    for epoch in range(4):
        method.trainer.fit_loop.epoch_progress.current.completed = epoch
        found.append(method.settled)
    assert found == settled


def test_a_target_that_follows_validation_needs_one() -> None:
    method = BottomUp(tau="validation", **SMALL)
    method.trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0
    )
    with pytest.raises(ValueError, match="nothing is validated; omit --trainer"):
        method.on_fit_start()
