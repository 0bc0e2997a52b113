"""RT-Saliency: its terms by hand, what is trained, whom it explains, and the map that it gives to any classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.attribution import add_attributions, require_maps
from maskexp.data import SyntheticBirds
from maskexp.methods import ERM, RTSaliency, load_method
from maskexp.methods.rt_saliency import hinge, powered_area, roughness
from maskexp.models.gated_unet import GatedUNet
from maskexp.models.rt_saliency import RTSaliencyNetwork
from maskexp.types import Batch, DataSpec

SMALL: dict[str, Any] = {"backbone": "small_convnet", "decoder_width": 8}
SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def built(**options: Any) -> tuple[RTSaliency, Batch]:
    torch.manual_seed(0)
    method = RTSaliency(**{**SMALL, **options})
    method.build(SPEC)
    method.train()
    batch: Any = {"image": torch.rand(6, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3, 0, 1])}
    return method, batch


def test_area_and_smoothness_by_hand() -> None:
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, 1:3, 1:3], mask[1, 0, 0, 0] = 1, 0.5
    assert roughness(mask).item() == pytest.approx(2.1625)
    assert powered_area(mask, 0.3).item() == pytest.approx(0.236688, abs=1e-6)
    assert mask.mean().item() == pytest.approx(0.140625)


def test_hinges_by_hand() -> None:
    logits, label = torch.tensor([[2.0, 1, 0], [0, 3, 1]]), torch.tensor([0, 2])
    assert hinge(logits, label, 1).mean().item() == 1.5
    assert hinge(logits, label, 5, known=False).mean().item() == 4.5


def test_absent_classes_change_the_places_of_the_hinges(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = built(fake_share=0.5)
    asked, real = method._ask(batch["label"], 4, torch.rand(6, 3, 8, 8))
    assert torch.equal(asked == batch["label"], real)
    seen: list[tuple[float, bool]] = []

    def noted(logits: Any, label: Any, margin: float, known: bool = True) -> Any:
        seen.append((margin, known))
        return torch.full((6,), 1.0 if known else 10.0) * (logits.sum() * 0 + 1)

    monkeypatch.setattr("maskexp.methods.rt_saliency.hinge", noted)
    share = torch.tensor([True, True, True, False, False, False])
    monkeypatch.setattr(method, "_ask", lambda label, classes, images: (label, share))
    terms = method.objective(method(batch["image"]), batch)
    assert terms["loss_preserve"].item() == pytest.approx(0.3 * 5.5)
    assert terms["loss_destroy"].item() == pytest.approx(5.5)
    assert seen == [(1.0, True), (5.0, False), (5.0, False), (1.0, True)]


def test_a_mask_without_any_activation_is_no_nan() -> None:
    method, batch = built()
    network = method.network
    assert isinstance(network, RTSaliencyNetwork)
    torch.nn.init.zeros_(network.masker.out.weight)
    torch.nn.init.zeros_(network.masker.out.bias)  # type: ignore[arg-type]
    mask, _ = network.mask(batch["image"], batch["label"])
    assert torch.isfinite(mask).all()


@pytest.mark.parametrize("encoder", ["classifier", "scratch"])
def test_the_masker_learns_and_the_classifier_stays(encoder: str) -> None:
    method, batch = built(encoder=encoder)
    before = {name: value.clone() for name, value in method.network.state_dict().items()}
    sum(method.objective(method(batch["image"]), batch).values()).backward()  # type: ignore[union-attr]
    learned = {name for name, p in method.network.named_parameters() if p.grad is not None}
    assert all(name.startswith("masker.") for name in learned)
    assert any(name.startswith("masker.encoder.") for name in learned) == (encoder == "scratch")
    trainable = {name for name, p in method.network.named_parameters() if p.requires_grad}
    assert learned == trainable, "unused parameters would hang DDP"
    after = method.network.state_dict()
    fixed = [name for name in before if name.startswith("classifier.")]
    assert all(torch.equal(before[name], after[name]) for name in fixed)


def test_the_mask_is_of_the_class_that_is_asked_for() -> None:
    method, batch = built()
    method.eval()
    one, other = (method.explain(batch["image"], torch.full((6,), k)) for k in (0, 1))
    assert torch.equal(one.logits, other.logits)
    assert not torch.equal(one.attribution, other.attribution)  # type: ignore[arg-type]
    predicted = method.explain(batch["image"])
    again = method.explain(batch["image"], predicted.logits.argmax(dim=1))
    assert torch.equal(predicted.attribution, again.attribution)  # type: ignore[arg-type]
    assert one.attribution is not None
    assert one.attribution.shape == (6, 1, 32, 32)
    assert 0 <= one.attribution.min() <= one.attribution.max() <= 1


def test_the_gate_closes_with_confidence() -> None:
    torch.manual_seed(0)
    unet = GatedUNet("small_convnet", 3, image_size=(33, 33), stages=3, width=4).eval()
    images, target = torch.rand(2, 3, 33, 33), torch.tensor([0, 2])
    open_, presence = unet(images, target)
    closed, same = unet(images, target, 1e4)
    assert open_.shape[:2] == (2, 2)
    assert torch.equal(presence, same)
    other, _ = unet(images, torch.tensor([1, 1]), 1e4)
    assert torch.equal(closed, other), "with a closed gate the class says nothing"
    assert not torch.equal(open_, closed)


# --- training and its checkpoint -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(birds: SyntheticBirds, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The checkpoints of an ERM and of a masker for it."""
    folder = tmp_path_factory.mktemp("masker")
    paths = folder / "erm.ckpt", folder / "masker.ckpt"
    for path in paths:
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        run = Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet)
        if path is paths[0]:
            run.fit(ERM(backbone="small_convnet", weights=None), birds)
        else:
            run.fit(RTSaliency(**SMALL, classifier_checkpoint=str(paths[0])), birds)
        run.save_checkpoint(path)
    return paths


def test_classifier_and_encoder_begin_as_the_checkpoint_and_stay(trained: tuple[Path, Path]) -> None:
    erm, masker = (load_method(path) for path in trained)
    network = masker.network
    assert isinstance(network, RTSaliencyNetwork)
    for name, value in erm.network.state_dict().items():
        assert torch.equal(network.classifier.state_dict()[name], value)
    encoder = [value for name, value in network.masker.encoder.state_dict().items() if name.endswith("weight")]
    body = [value for name, value in erm.network.state_dict().items() if "stages" in name and name.endswith("weight")]
    assert len(encoder) == len(body)
    assert all(torch.equal(one, other) for one, other in zip(encoder, body, strict=True))


def test_any_classifier_is_explained_by_a_masker_behind_the_name_of_the_map(trained: tuple[Path, Path]) -> None:
    erm, masker = load_method(trained[0]), load_method(trained[1])
    images, target = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    name = f"rt_saliency:checkpoint={trained[1]}"
    require_maps(erm.network, [name])
    with torch.no_grad():
        prediction = add_attributions(erm(images), erm.network, images, target, [name])
        assert torch.equal(prediction.attributions[name], masker.explain(images, target).attribution)  # type: ignore[arg-type]


def test_the_map_needs_a_masker(trained: tuple[Path, Path]) -> None:
    erm = load_method(trained[0])
    with pytest.raises(ValueError, match="rt_saliency needs a trained masker: train an RTSaliency"):
        require_maps(erm.network, ["rt_saliency"])
    with pytest.raises(ValueError, match="holds the method ERM; rt_saliency needs an RTSaliency"):
        require_maps(erm.network, [f"rt_saliency:checkpoint={trained[0]}"])


def test_checkpoints_that_do_not_fit_are_refused(
    trained: tuple[Path, Path], birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    with pytest.raises(ValueError, match="RTSaliency begins with a trained classifier: give classifier_checkpoint"):
        trainer().fit(RTSaliency(**SMALL), birds)
    with pytest.raises(ValueError, match="holds the method RTSaliency; RTSaliency needs a classifier of ERM"):
        trainer().fit(RTSaliency(**SMALL, classifier_checkpoint=str(trained[1])), birds)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fake_share": 1.0}, "fake_share is 1.0; it must be at least 0 and at most 0.99"),
        ({"smoothness": -1.0}, "smoothness is -1"),
        ({"encoder": "imagenet"}, "encoder is 'imagenet'; choose classifier or scratch"),
        ({"encoder_stages": 9}, "stages is 9, but 'small_convnet' has 4"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        built(**options)
