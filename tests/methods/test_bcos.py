"""B-cos: its loss by hand, its explanation, its clipped gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from maskexp.data import SyntheticBirds
from maskexp.methods import BCos
from maskexp.types import Batch, DataSpec, Prediction

SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def built(**options: Any) -> BCos:
    torch.manual_seed(0)
    method = BCos(backbone="small_convnet", **options)
    method.build(SPEC)
    return method


@pytest.mark.parametrize(("logits", "loss"), [([0.0] * 5, 0.693147), ([1.0, -1, 0, 2, -2], 0.594705)])
def test_wrong_classes_have_the_target_of_chance(logits: list[float], loss: float) -> None:
    batch: Batch = {"label": torch.tensor([3])}  # type: ignore[typeddict-item]
    terms = built().objective(Prediction(torch.tensor([logits])), batch)
    assert terms["loss_cls"].item() == pytest.approx(loss, abs=1e-6)


def test_the_other_objective_is_cross_entropy() -> None:
    batch: Batch = {"label": torch.tensor([1])}  # type: ignore[typeddict-item]
    terms = built(objective="cross_entropy").objective(Prediction(torch.zeros(1, 4)), batch)
    assert terms["loss_cls"].item() == pytest.approx(1.386294, abs=1e-6)


def test_the_explanation_is_the_positive_part_of_the_target_s_contributions() -> None:
    method, images = built().eval(), torch.rand(3, 3, 32, 32)
    target = torch.tensor([3, 0, 1])
    prediction = method.explain(images, target)
    signed = method.network.contributions(images, target)  # type: ignore[operator]
    assert torch.equal(prediction.extras["contributions"], signed)  # type: ignore[arg-type]
    assert prediction.attribution is not None
    assert torch.allclose(prediction.attribution.amax(dim=(1, 2, 3)), torch.ones(3))
    assert torch.equal(prediction.attribution > 0, signed > 0)
    assert "grad_cam" in prediction.attributions
    predicted = method.explain(images)
    assert torch.equal(
        predicted.extras["contributions"],  # type: ignore[arg-type]
        method.network.contributions(images, predicted.logits.argmax(dim=1)),  # type: ignore[operator]
    )


def test_no_filter_s_gradient_is_longer_than_its_share() -> None:
    method = built(gradient_clipping=0.01)
    method.trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    for parameter in method.network.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    method.configure_gradient_clipping(torch.optim.SGD(method.network.parameters(), lr=1.0))
    weight = method.network.head.linear.weight  # type: ignore[union-attr]
    lengths = weight.grad.flatten(1).norm(dim=1) / weight.detach().flatten(1).norm(dim=1)  # type: ignore[union-attr, operator]
    assert torch.allclose(lengths, torch.full_like(lengths, 0.01), rtol=1e-4)


def test_norms_that_subtract_a_mean_are_refused() -> None:
    method = built()
    method.network = nn.SyncBatchNorm.convert_sync_batchnorm(method.network)  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"give --trainer\.sync_batchnorm false"):
        method.on_fit_start()


def test_a_training_lowers_the_loss(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    seen: list[float] = []
    method = BCos(backbone="small_convnet", schedule="constant", warmup_epochs=0, lr=0.01, backbone_lr=0.01)
    run = trainer(max_epochs=1)
    run.fit(method, birds)
    seen.append(float(run.callback_metrics["train/loss"]))
    method = BCos(backbone="small_convnet", schedule="constant", warmup_epochs=0, lr=0.01, backbone_lr=0.01)
    run = trainer(max_epochs=8)
    run.fit(method, birds)
    assert float(run.callback_metrics["train/loss"]) < seen[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"b": 0.5}, "b is 0.5; it must be at least 1"),
        ({"gradient_clipping": -1.0}, "gradient_clipping is -1"),
        ({"objective": "bec"}, "objective is 'bec'; choose bce or cross_entropy"),
        ({"encoding": "rgb"}, "encoding is 'rgb'; choose inverse or normalized"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        built(**options)
