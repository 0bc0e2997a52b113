"""AIM's objective: area loss and cross-entropies, summed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.masking import area_loss
from maskexp.methods import AIM, BottomUp, Method
from maskexp.types import Batch, Prediction

SMALL = {"backbone": "small_convnet", "weights": None, "feature_width": 16}


def prediction(stages: int) -> Prediction:
    torch.manual_seed(0)
    masks = tuple((torch.rand(4, 1, 2**i, 2**i) > 0.5).float() for i in range(1, stages + 1))
    stage_logits = tuple(torch.randn(4, 2) for _ in range(stages)) if stages > 1 else ()
    return Prediction(torch.randn(4, 2), masks=masks, extras={"stage_logits": stage_logits})


def objective(method: AIM, value: Prediction, epoch: int) -> dict[str, torch.Tensor]:
    trainer = Trainer(max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit_loop.epoch_progress.current.completed = epoch
    method.trainer = trainer
    label = torch.tensor([0, 1, 1, 0])
    batch: Batch = {"label": label}  # type: ignore[typeddict-item]
    return method.objective(value, batch)


def test_terms_are_those_of_the_paper() -> None:
    value, label = prediction(2), torch.tensor([0, 1, 1, 0])
    terms = objective(AIM(tau=0.25, **SMALL), value, epoch=9)
    assert terms["loss_area"].item() == pytest.approx(6 * area_loss(value.masks, 0.25).item())
    assert terms["loss_cls"].item() == pytest.approx(F.cross_entropy(value.logits, label).item())
    stages = sum(F.cross_entropy(logits, label).item() for logits in value.extras["stage_logits"])
    assert terms["loss_stages"].item() == pytest.approx(stages)


@pytest.mark.parametrize(("epoch", "target"), [(0, 1.0), (2, 0.7), (5, 0.25), (9, 0.25)])
def test_target_area_is_annealed_over_the_first_half(epoch: int, target: float) -> None:
    value = prediction(2)
    terms = objective(AIM(tau=0.25, **SMALL), value, epoch)
    assert terms["loss_area"].item() == pytest.approx(6 * area_loss(value.masks, target).item())


def test_with_one_stage_the_merged_head_is_the_stage_classifier() -> None:
    assert set(objective(AIM(stages=1, **SMALL), prediction(1), 0)) == {"loss_area", "loss_cls"}


@pytest.mark.parametrize("tau", [0.0, -0.1, 1.5])
def test_impossible_area_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match=r"tau is .* must lie in \(0, 1\]"):
        AIM(tau=tau, **SMALL)


@pytest.fixture
def automatic() -> AIM:
    """AIM without a target area, built, with a mask of its own on each of two stages."""
    torch.manual_seed(0)
    method = AIM(tau="auto", margin=0.2, area_weight=6.0, **SMALL)
    method.trainer = Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    method.build(SyntheticBirds(image_size=32, train_size=8, val_size=8, test_size=8).spec)
    return method.train()


def test_without_a_target_areas_have_learned_weights_and_each_stage_a_reference(automatic: AIM) -> None:
    value, label = automatic(torch.rand(4, 3, 32, 32)), torch.tensor([0, 1, 1, 0])
    automatic.multiplier.log_weight += torch.tensor([0.5, -0.5])
    terms = automatic.objective(value, {"label": label})  # type: ignore[typeddict-item]
    areas = [float(mask.mean()) for mask in value.masks]
    assert terms["loss_area"].item() == pytest.approx(math.exp(0.5) * areas[0] + math.exp(-0.5) * areas[1])
    unmasked = sum(F.cross_entropy(logits, label).item() for logits in value.extras["unmasked_logits"])
    assert terms["loss_unmasked"].item() == pytest.approx(unmasked)


def test_nothing_but_the_reference_classifiers_learns_from_the_unmasked_features(automatic: AIM) -> None:
    value = automatic(torch.rand(4, 3, 32, 32))
    automatic.objective(value, {"label": torch.tensor([0, 1, 1, 0])})["loss_unmasked"].backward()  # type: ignore[typeddict-item]
    learning = {name.partition(".")[0] for name, p in automatic.network.named_parameters() if p.grad is not None}
    assert learning == {"unmasked_heads"}


def test_an_area_weighs_no_more_than_the_annealing_allows_and_is_learned_after_it(automatic: AIM) -> None:
    batch: Batch = {"label": torch.tensor([0, 1, 1, 0])}  # type: ignore[typeddict-item]
    for epoch, largest in ((0, 3.0), (1, 6.0), (2, 1000.0)):
        automatic.trainer.fit_loop.epoch_progress.current.completed = epoch
        automatic.multiplier.log_weight.fill_(9.0)
        automatic.objective(automatic(torch.rand(4, 3, 32, 32)), batch)
        automatic.on_train_batch_end(None, batch, 0)
        assert automatic.multiplier.weights.tolist() == pytest.approx([largest, largest])


def test_a_checkpoint_keeps_the_learned_weights(automatic: AIM) -> None:
    automatic.multiplier.log_weight += 1.0
    assert automatic.state_dict()["multiplier.log_weight"].tolist() == [1.0, 1.0]
    assert "multiplier.log_weight" not in AIM(**SMALL).state_dict()


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        (AIM, {"tau": "aut"}, r'tau is aut; .* or be "auto" or "validation"$'),
        (AIM, {"tau": "auto", "area_weight": 0.0}, "with area_weight 0 nothing asks for an area; omit it"),
        (AIM, {"tau": "validation", "tolerance": 0.0}, "tolerance is 0.0; it must be above 0"),
        (AIM, {"tau": "auto", "tolerance": 1.0}, 'only tau "validation" has one'),
        (AIM, {"tau": "validation", "margin": 0.1}, 'only tau "auto" keeps a margin'),
        (AIM, {"tau": "auto", "margin": 0.0}, "margin is 0.0; it must be above 0"),
        (AIM, {"tau": 0.25, "margin": 0.1}, 'only tau "auto" keeps a margin'),
        (BottomUp, {"tau": "auto"}, "BottomUp cannot tell what its masks cost"),
        (BottomUp, {"tau": "aut"}, r'must lie in \(0, 1\], or be "validation"$'),
    ],
)
def test_wishes_that_nothing_would_obey_are_refused(
    method: type[Method], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        method(backbone="small_convnet", weights=None, **options)


@pytest.mark.parametrize("name", ["merged_weight", "stage_weight"])
@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_impossible_weights_are_refused(name: str, weight: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} is {weight}; it must be (at least 0 and finite|a finite number)"):
        AIM(**SMALL | {name: weight})


def test_impossible_annealing_is_refused() -> None:
    with pytest.raises(ValueError, match="anneal_fraction is 2"):
        AIM(anneal_fraction=2, **SMALL)


def test_annealing_needs_a_bounded_training() -> None:
    method = AIM(**SMALL)
    method.trainer = Trainer(max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs"):
        _ = method.anneal_epochs
    method.anneal_fraction = 0.0
    assert method.anneal_epochs == 0


def test_masks_and_metrics_reach_the_log(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.fit(AIM(**SMALL), birds)
    expected = {
        "train/loss",
        "train/loss_area",
        "val/acc",
        "val/acc_worst_group",
        "val/epg",
        "val/pxap",
        "val/mask_area",
    }
    assert expected <= set(run.callback_metrics)
    assert 0 <= run.callback_metrics["val/mask_area"] <= 1


@pytest.mark.slow
def test_area_reaches_its_target_after_annealing(trainer: Callable[..., Trainer]) -> None:
    data = SyntheticBirds(image_size=32, train_size=256, val_size=8, test_size=8, batch_size=16)
    method = AIM(tau=0.35, anneal_fraction=0.5, lr=3e-3, backbone_lr=3e-3, **SMALL)
    trainer(max_epochs=20).fit(method, data)
    with torch.no_grad():  # noisy masks, as in training; one batch alone is off by as much as the tolerance
        masks = method.train()(data.fetch("train", range(256))["image"]).masks
    assert [mask.mean().item() for mask in masks] == pytest.approx([0.35, 0.35], abs=0.03)
