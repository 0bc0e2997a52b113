"""What all methods share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, CAD, ERM, BottomUp, DynConv, Method
from maskexp.methods.optimization import cosine_with_warmup
from maskexp.models import AIMNetwork

SMALL = {"backbone": "small_convnet", "weights": None}


BINARY = (AIM, BottomUp, CAD)
"""Methods whose attribution is one binary mask."""
MASKED = (*BINARY, DynConv)
RESNETS = (CAD, DynConv)


@pytest.fixture(params=[ERM, *MASKED])
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    made: Method = request.param(**SMALL | ({"backbone": "test_resnet"} if request.param in RESNETS else {}))
    return made


def test_every_key_of_the_contract_is_reported(
    method: Method, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run = trainer()
    run.fit(method, birds)
    (test,) = run.test(method, birds, verbose=False)
    names = ["acc", "acc_worst_group", "acc_adjusted", "acc_group_mean", "epg", "pxap", "epg_grad_cam", "pxap_grad_cam"]
    groups = [f"{kind}/{name}" for kind in ("acc_group", "n_group") for name in birds.spec.group_names]
    assert {f"test/{name}" for name in [*names, *groups, "epg_baseline"]} <= set(test)
    assert ("test/mask_area" in test) == isinstance(method, MASKED)
    assert sum(test[f"test/n_group/{name}"] for name in birds.spec.group_names) == 12


def test_explain_works_in_inference_mode_and_without_a_target(method: Method, birds: SyntheticBirds) -> None:
    birds.setup("test")
    method.build(birds.spec)
    images = birds.fetch("test", [0, 1, 2])["image"]
    with torch.inference_mode():
        prediction = method.eval().explain(images)
    assert prediction.attribution is not None
    assert prediction.attribution.shape[:2] == (3, 1)
    assert 0 <= prediction.attribution.min() <= prediction.attribution.max() <= 1
    assert set(prediction.attributions) == {"own", "grad_cam"}
    assert bool(prediction.masks) == isinstance(method, MASKED)


def test_predict_returns_what_the_metrics_saw(
    method: Method, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run = trainer()
    run.fit(method, birds)
    (first, *_) = run.predict(method, datamodule=birds)
    assert first["attribution"].shape == (8, 1, 32, 32)
    assert first["logits"].shape == (8, 2)
    assert first["index"].tolist() == list(range(8))


def test_backbone_and_new_layers_learn_at_their_own_rates(method: Method, birds: SyntheticBirds) -> None:
    birds.setup("fit")
    method.build(birds.spec)
    method.schedule, method.warmup_epochs = "constant", 0
    optimizer = method.configure_optimizers()
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    backbone = {id(parameter) for parameter in method.network.backbone_parameters()}
    for parameter in method.network.parameters():
        assert rates[id(parameter)] == (
            method.backbone_lr if id(parameter) in backbone else method.lr,
            method.weight_decay if parameter.ndim > 1 else 0.0,
        )


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_other_precisions(
    method: Method, precision: str, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run = trainer(precision=precision)
    run.fit(method, birds)
    assert torch.isfinite(run.callback_metrics["train/loss"])
    assert run.callback_metrics["val/epg"] >= 0
    (first, *_) = run.predict(method, datamodule=birds)
    if isinstance(method, BINARY):
        assert set(first["attribution"].unique().tolist()) <= {0.0, 1.0}


def test_a_schedule_without_an_end_is_refused(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer(max_epochs=-1)
    with pytest.raises(ValueError, match=r"needs to know when training ends: give --trainer\.max_epochs"):
        run.fit(ERM(**SMALL), birds)


def test_frozen_backbone_keeps_weights_and_statistics(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    for kind in (ERM, AIM):
        method = kind(frozen_backbone=True, **SMALL)
        birds.setup("fit")
        method.build(birds.spec)
        before = [parameter.clone() for parameter in method.network.backbone_parameters()]
        backbone = method.network.backbone if isinstance(method.network, AIMNetwork) else method.network
        statistics = {k: v.clone() for k, v in backbone.state_dict().items() if "running" in k}
        trainer().fit(method, birds)
        assert all(torch.equal(a, b) for a, b in zip(before, method.network.backbone_parameters(), strict=True))
        assert statistics
        assert all(torch.equal(backbone.state_dict()[k], v) for k, v in statistics.items())


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)],
    ids=["first", "top", "then", "half", "end"],
)
def test_schedule_warms_up_and_falls_along_a_cosine(step: int, factor: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cosine_with_warmup(optimizer, total_steps=100, warmup_steps=10)
    assert 2.0 * schedule.lr_lambdas[0](step) == pytest.approx(2.0 * factor)


def test_milestones_that_the_schedule_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match=r"milestones are \[3\], but the schedule is cosine, which knows none"):
        ERM(weights=None, milestones=[3])
