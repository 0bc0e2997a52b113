"""REAL-X: its gradient, what is trained and what is not, its evaluator, and its predictor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.masking.relaxed import rebar_surrogate
from maskexp.methods import ERM, REALX, MaskedClassifier, load_method
from maskexp.methods.masked_classifier import divergence
from maskexp.models.realx import REALXNetwork
from maskexp.types import Batch, DataSpec

SMALL: dict[str, Any] = {"backbone": "small_convnet", "selector": "small_convnet", "selector_stride": 4}
RELEASED: dict[str, Any] = {"estimator": "relaxed", "temperature": 1.0, "grid": "pixels", "target": "classifier"}
SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def built(**options: Any) -> tuple[REALX, Batch]:
    torch.manual_seed(0)
    method = REALX(**{**SMALL, **options})
    method.build(SPEC)
    method.train()
    batch: Any = {"image": torch.rand(6, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3, 0, 1])}
    return method, batch


def test_divergence_is_from_the_fixed_classifier_to_ours() -> None:
    ours, fixed = torch.tensor([[0.2, 0.8]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert divergence(ours, fixed).item() == pytest.approx(0.223144, abs=1e-6)
    assert divergence(fixed, ours).item() != pytest.approx(0.223144, abs=1e-3)


def test_the_loss_is_that_of_the_draw_and_its_gradient_rebar_s() -> None:
    method, batch = built(evaluator=False)
    prediction = method(batch["image"])
    extras = prediction.extras
    terms = method.objective(prediction, batch)
    assert terms.keys() == {"loss_selector", "loss_area"}
    assert torch.allclose(terms["loss_selector"], F.cross_entropy(prediction.logits, batch["label"]))
    assert torch.allclose(terms["loss_area"], 5 * extras["selector_logits"].sigmoid().mean())
    weights = [p for p in method.network.parameters() if p.requires_grad]
    (expected,) = torch.autograd.grad(
        -rebar_surrogate(
            extras["selector_logits"],
            extras["hard"],
            *(
                -F.cross_entropy(logits, batch["label"], reduction="none")
                for logits in (prediction.logits, extras["relaxed_logits"], extras["conditional_logits"])
            ),
        ).mean(),
        weights[0],
        retain_graph=True,
    )
    (found,) = torch.autograd.grad(terms["loss_selector"], weights[0])
    assert torch.allclose(found, expected)
    assert found.abs().max() > 0


@pytest.mark.parametrize("options", [{}, RELEASED], ids=["paper", "released"])
def test_selector_and_evaluator_learn_and_the_predictor_stays(options: dict[str, Any]) -> None:
    method, batch = built(**options)
    sum(method.objective(method(batch["image"]), batch).values()).backward()  # type: ignore[union-attr]
    learned = {name.partition(".")[0] for name, p in method.network.named_parameters() if p.grad is not None}
    assert learned == {"selector", "evaluator"}
    network = method.network
    assert isinstance(network, REALXNetwork)
    assert not network.predictor.training
    assert network.selector.training


def test_with_a_frozen_backbone_the_evaluator_learns_its_head_alone() -> None:
    method, batch = built(frozen_backbone=True)
    method.objective(method(batch["image"]), batch)["loss_evaluator"].backward()
    network = method.network
    assert isinstance(network, REALXNetwork)
    assert network.evaluator is not None
    learned = {name for name, p in network.evaluator.named_parameters() if p.grad is not None}
    assert learned == {"network.head.weight", "network.head.bias"}


def test_the_evaluator_has_no_part_in_the_selector_s_gradient() -> None:
    method, batch = built()
    terms = method.objective(method(batch["image"]), batch)
    terms["loss_evaluator"].backward()
    assert all(p.grad is None for n, p in method.network.named_parameters() if n.startswith("selector."))


def test_in_evaluation_cells_of_at_least_a_half_are_shown_to_the_predictor() -> None:
    method, batch = built()
    network = method.eval().network
    assert isinstance(network, REALXNetwork)
    prediction = method.explain_batch(batch)
    probability = network.select(batch["image"]).sigmoid()
    assert torch.equal(prediction.attribution, probability)  # type: ignore[arg-type]
    (mask,) = prediction.masks
    assert torch.equal(mask, (probability >= 0.5).float())
    whole = mask.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    seen = network.hiding.fill(batch["image"], whole > 0.5)
    assert torch.allclose(network.predictor(seen).logits, prediction.logits, atol=1e-5)
    assert network.evaluator is not None
    right = network.evaluator(seen).logits.argmax(dim=1) == batch["label"]
    assert torch.equal(prediction.extras["evaluator_acc"], right.float())  # type: ignore[arg-type]


def test_the_predictor_is_asked_for_as_the_selector_needs_it() -> None:
    asked = REALX(**SMALL, lr=3e-3, predictor_epochs=4).pretraining(SPEC)
    assert asked is not None
    assert (asked.role, asked.method, asked.epochs) == ("predictor", "MaskedClassifier", 4)
    assert {"masks": "cells", "cell": 4, "mask_temperature": None, "target": "label", "lr": 3e-3}.items() <= (
        asked.arguments.items()
    )
    released = REALX(**SMALL, **RELEASED).pretraining(SPEC)
    assert released is not None
    assert {"cell": 1, "mask_temperature": 0.1, "target": "classifier"}.items() <= released.arguments.items()
    nested = MaskedClassifier(**released.arguments).pretraining(SPEC)
    assert nested is not None
    assert (nested.role, nested.method) == ("classifier", "ERM")


@pytest.fixture(scope="module")
def predictor(birds: SyntheticBirds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a masked classifier on the birds."""
    return _trained(MaskedClassifier(backbone="small_convnet", weights=None, cell=4), birds, tmp_path_factory)


def _trained(method: Any, birds: SyntheticBirds, folder: pytest.TempPathFactory) -> Path:
    path = folder.mktemp("first") / "first.ckpt"
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    run = Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet)
    run.fit(method, birds)
    run.save_checkpoint(path)
    return path


def test_a_training_begins_with_the_predictor_and_reports_the_evaluator(
    predictor: Path, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run, method = trainer(), REALX(**SMALL, predictor_checkpoint=str(predictor))
    run.fit(method, birds)
    assert {"train/loss_selector", "train/loss_evaluator", "val/evaluator_acc", "val/mask_area"} <= set(
        run.callback_metrics
    )
    network, trained = method.network, load_method(predictor).network
    assert isinstance(network, REALXNetwork)
    for name, value in trained.classifier.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(network.predictor.state_dict()[name], value)


def test_checkpoints_that_do_not_fit_are_refused(
    predictor: Path, birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ValueError, match="REALX begins with a trained predictor: give predictor_checkpoint"):
        trainer().fit(REALX(**SMALL), birds)
    with pytest.raises(ValueError, match="learned from the label, but REALX keeps to the classifier"):
        trainer().fit(REALX(**SMALL, target="classifier", predictor_checkpoint=str(predictor)), birds)
    with pytest.raises(ValueError, match=r"learned with hiding \S+, but REALX shows it hiding black; give the same"):
        trainer().fit(REALX(**{**SMALL, "hiding": "black"}, predictor_checkpoint=str(predictor)), birds)
    erm = _trained(ERM(backbone="small_convnet", weights=None), birds, tmp_path_factory)
    with pytest.raises(ValueError, match="holds the method ERM; REALX needs a predictor of MaskedClassifier"):
        trainer().fit(REALX(**SMALL, predictor_checkpoint=str(erm)), birds)
    with pytest.raises(ValueError, match=r"holds a small_convnet, but the predictor of REALX is a test_resnet"):
        trainer().fit(REALX(**{**SMALL, "backbone": "test_resnet"}, predictor_checkpoint=str(predictor)), birds)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"area_weight": -1.0}, "area_weight is -1"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"estimator": "reinforce"}, "estimator is 'reinforce'; choose rebar or relaxed"),
        ({"hiding": "layer"}, "REALX shows images through soft masks, which 'layer' cannot; choose a colour"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        built(**options)


def test_cells_that_do_not_fill_the_image_are_refused_before_anything_is_trained() -> None:
    spec = DataSpec("toy", "x", ("a", "b"), (), (), (30, 30), (), "none")
    with pytest.raises(ValueError, match="cells of 4 pixels do not fill images of 30 × 30 pixels"):
        REALX(**SMALL).pretraining(spec)
    with pytest.raises(ValueError, match="give the smaller share"):
        MaskedClassifier(sigma=(0.5, 0.2))
    with pytest.raises(ValueError, match="with target: label nothing learns from it"):
        MaskedClassifier(classifier_checkpoint="x.ckpt")
