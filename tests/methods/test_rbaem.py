"""RB-AEM: its bump, what is trained, whom the decision depends on, and its predictor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import ERM, RBAEM, MaskedClassifier
from maskexp.methods.masked_classifier import divergence
from maskexp.methods.rt_saliency import powered_area, roughness
from maskexp.models.rbaem import RBAEMNetwork
from maskexp.types import Batch, DataSpec

SMALL: dict[str, Any] = {"backbone": "small_convnet", "decoder_width": 8}
SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def built(**options: Any) -> tuple[RBAEM, RBAEMNetwork, Batch]:
    torch.manual_seed(0)
    method = RBAEM(**{**SMALL, **options})
    method.build(SPEC)
    method.train()
    batch: Any = {"image": torch.rand(6, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3, 0, 1])}
    network = method.network
    assert isinstance(network, RBAEMNetwork)
    return method, network, batch


def test_the_first_bump_lies_in_the_middle_and_is_as_wide_as_told() -> None:
    _, network, batch = built(initial_sigma=0.25)
    bump = network.select(batch["image"], batch["label"])
    assert bump.shape == (6, 1, 32, 32)
    assert torch.equal(bump.amax(dim=(2, 3)), torch.ones(6, 1))
    assert bump[0, 0].argmax().item() == 16 * 32 + 16
    assert bump[0, 0, 16, 24].item() == pytest.approx(0.606531, abs=1e-4), "a deviation of 8 pixels from the centre"


@pytest.mark.parametrize(("value", "row"), [(1e3, 32 * 220 / 224), (-1e3, 32 * 4 / 224)])
def test_the_centre_stays_inside(value: float, row: float) -> None:
    _, network, batch = built(initial_sigma=0.1)
    network.head.bias.data[0] = value  # type: ignore[union-attr]
    bump = network.select(batch["image"], batch["label"])[0, 0]
    assert abs(bump.argmax().item() // 32 - row) <= 1


def test_the_loss_is_divergence_area_and_smoothness() -> None:
    method, _, batch = built(area_weight=0.7, area_power=0.3, smoothness=0.01)
    prediction = method(batch["image"])
    terms = method.objective(prediction, batch)
    whole, bump = prediction.extras["teacher_logits"], prediction.extras["map"]
    assert torch.allclose(terms["loss_selector"], divergence(prediction.logits, whole).mean())
    assert torch.allclose(terms["loss_area"], 0.7 * powered_area(prediction.masks[0], 0.3))
    assert torch.allclose(terms["loss_smooth"], 0.01 * roughness(bump))
    assert not torch.equal(prediction.masks[0], bump), "the mask is drawn"
    plain, _, _ = built(draw=False, smoothness=0.0)
    prediction = plain(batch["image"])
    assert torch.equal(prediction.masks[0], prediction.extras["map"])  # type: ignore[arg-type]
    assert plain.objective(prediction, batch).keys() == {"loss_selector", "loss_area"}


def test_the_selector_learns_and_what_it_begins_with_stays() -> None:
    method, network, batch = built()
    torch.nn.init.normal_(network.head.weight, std=0.01)
    sum(method.objective(method(batch["image"]), batch).values()).backward()  # type: ignore[union-attr]
    learned = {name for name, p in network.named_parameters() if p.grad is not None}
    assert learned == {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in learned} == {"unet", "head"}
    assert not any(name.startswith("unet.encoder") for name in learned)
    assert network.head.bias.grad.abs().min() > 0  # type: ignore[union-attr]


def test_no_label_takes_part_in_the_decision() -> None:
    method, network, batch = built()
    torch.nn.init.normal_(network.head.weight, std=0.05)
    method.eval()
    with torch.no_grad():
        plain = method(batch["image"])
        one, other = (method.explain(batch["image"], torch.full((6,), k)) for k in (0, 1))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.logits, plain.logits)
    assert not torch.equal(one.attribution, other.attribution)  # type: ignore[arg-type]
    assert torch.equal(one.masks[0], other.masks[0])


@pytest.fixture(scope="module")
def predictors(birds: SyntheticBirds, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The checkpoints of a predictor that learned from a classifier, and of one that learned from labels."""
    folder = tmp_path_factory.mktemp("predictors")
    found = []
    for name, target in (("erm", None), ("classifier", "classifier"), ("label", "label")):
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        run = Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet)
        options: dict[str, Any] = {"backbone": "small_convnet", "weights": None}
        if target == "classifier":
            options |= {"target": target, "classifier_checkpoint": str(folder / "erm.ckpt"), "mask_temperature": 0.1}
        run.fit(ERM(**options) if target is None else MaskedClassifier(masks="bumps", **options), birds)
        run.save_checkpoint(folder / f"{name}.ckpt")
        found.append(folder / f"{name}.ckpt")
    return found[1], found[2]


def test_a_training_begins_with_predictor_classifier_and_encoder(
    predictors: tuple[Path, Path], birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run, method = trainer(), RBAEM(**SMALL, predictor_checkpoint=str(predictors[0]))
    run.fit(method, birds)
    assert {"train/loss_selector", "train/loss_area", "val/mask_area", "val/pxap"} <= set(run.callback_metrics)
    stored = torch.load(predictors[0], weights_only=True)["state_dict"]
    network = method.network.state_dict()
    for name, value in stored.items():
        part = name.replace("network.classifier", "predictor").replace("network.teacher", "teacher")
        assert torch.equal(network[part], value)
    encoder = [value for name, value in network.items() if name.startswith("unet.encoder") and value.ndim == 4]
    teacher = [value for name, value in network.items() if name.startswith("teacher") and value.ndim == 4]
    assert all(torch.equal(one, other) for one, other in zip(encoder, teacher, strict=True))


def test_a_predictor_that_learned_from_labels_is_refused(
    predictors: tuple[Path, Path], birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    with pytest.raises(ValueError, match="learned from the label, but RBAEM explains the classifier"):
        trainer().fit(RBAEM(**SMALL, predictor_checkpoint=str(predictors[1])), birds)
    with pytest.raises(ValueError, match="RBAEM begins with a trained predictor: give predictor_checkpoint"):
        trainer().fit(RBAEM(**SMALL), birds)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"area_power": 0.0}, "area_power is 0.0; it must be above 0"),
        ({"initial_sigma": -0.1}, "initial_sigma is -0.1; it must be above 0"),
        ({"sigma": (0.4, 0.1)}, "give the smaller share of the side first"),
        ({"hiding": "layer"}, "soft masks, which 'layer' cannot"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RBAEM(**{**SMALL, **options}).pretraining(SPEC)
