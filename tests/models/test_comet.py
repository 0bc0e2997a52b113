"""COMET's network: what each part sees, what stays as it is, and what gets a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskexp.masking.inputs import LayerMasking
from maskexp.methods import COMET
from maskexp.models import COMETNetwork
from tests.defaults import network_defaults

TINY: dict[str, Any] = {"selector": "small_convnet", "selector_stride": 4, "image_size": (32, 32)}


def network(seed: int = 0, **options: Any) -> COMETNetwork:
    torch.manual_seed(seed)
    backbone = options.pop("backbone", "small_convnet")
    return COMETNetwork(
        backbone, options.pop("num_classes", 3), **{**network_defaults(COMET, COMETNetwork), **TINY, **options}
    )


def gradient(module: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_parameters_are_as_many_as_in_the_released_code() -> None:
    whole = COMETNetwork("resnet18", 9, **network_defaults(COMET, COMETNetwork))
    parts = [whole.selector, whole.predictor, whole.detector]
    selector, predictor, detector = (sum(p.numel() for p in part.parameters()) for part in parts if part is not None)
    assert (selector, predictor, detector) == (3_218_138, 11_181_129, 11_181_129)
    assert selector + predictor == 14_399_267
    assert sum(p.numel() for p in whole.parameters()) == 25_580_396


def test_the_mask_is_a_map_of_probabilities_that_took_part(images: Tensor) -> None:
    whole = network().eval()
    with torch.no_grad():
        prediction = whole(images)
        (mask,) = prediction.masks
        assert mask.shape == (4, 1, 32, 32)
        assert 0 < mask.min() < mask.max() < 1
        shown = mask * images + (1 - mask) * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        expected = whole.predictor(shown)
    assert prediction.attribution is mask
    assert prediction.interpolation == "bilinear"
    assert torch.allclose(prediction.logits, expected.logits, atol=1e-6)
    assert torch.allclose(whole.classify(expected.features), prediction.logits, atol=1e-6)
    assert "detector_logits" not in prediction.extras, "inference does not pay for the detector"


def test_the_detector_sees_what_is_left(images: Tensor) -> None:
    whole = network(hiding="#000000").train()
    prediction = whole(images)
    (mask,) = prediction.masks
    assert whole.detector is not None
    expected = whole.detector((1 - mask) * images).logits
    assert torch.allclose(prediction.extras["detector_logits"], expected, atol=1e-6)


def test_the_deciding_part_and_the_detector_can_be_asked_alone(images: Tensor) -> None:
    model = network().eval()
    assert model.plain_predictor is model.predictor
    assert model.plain_detector is model.detector
    alone = network(detector="none").eval()
    assert alone.plain_detector is alone.plain_predictor is alone.predictor
    assert model.plain_predictor(images).logits.shape == model(images).logits.shape


def test_images_need_not_be_square_nor_many(images: Tensor) -> None:
    whole = network(image_size=(32, 48), num_classes=7)
    prediction = whole.train()(torch.rand(1, 3, 32, 48))
    assert prediction.masks[0].shape == (1, 1, 32, 48)
    assert prediction.logits.shape == prediction.extras["detector_logits"].shape == (1, 7)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("detector_bn", ["eval", "batch"])
def test_a_fixed_detector_keeps_weights_and_buffers(images: Tensor, detector_bn: str) -> None:
    whole = network(detector_bn=detector_bn).train()
    assert whole.detector is not None
    before = {name: value.clone() for name, value in whole.detector.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        prediction = whole(images)
        (prediction.logits.square().sum() - prediction.extras["detector_logits"].square().sum()).backward()
        optimizer.step()
    changed = moved(before, whole.detector.state_dict())
    assert all(p.grad is None for p in whole.detector.parameters())
    assert bool(changed) == (detector_bn == "batch"), "only the released code lets the statistics drift"
    assert all("running" in name or "num_batches" in name for name in changed)


def test_a_fixed_predictor_keeps_weights_and_buffers_and_lets_the_gradient_through(images: Tensor) -> None:
    whole = network(predictor="fixed", detector="none").train()
    before = {name: value.clone() for name, value in whole.predictor.state_dict().items()}
    prediction = whole(images)
    (prediction.logits.sum() + prediction.extras["detector_logits"].sum()).backward()
    assert not moved(before, whole.predictor.state_dict())
    assert gradient(whole.predictor) == 0
    assert gradient(whole.selector) > 0


@pytest.mark.parametrize("detector_bn", ["eval", "batch"])
def test_a_fixed_predictor_in_both_parts_has_one_kind_of_statistics(images: Tensor, detector_bn: str) -> None:
    whole = network(predictor="fixed", detector="none", detector_bn=detector_bn).train()
    before = {name: value.clone() for name, value in whole.predictor.state_dict().items()}
    prediction = whole(images)
    kept = whole.hiding.blend(images, prediction.masks[0])  # type: ignore[attr-defined]
    left = whole.hiding.blend(images, 1 - prediction.masks[0])  # type: ignore[attr-defined]
    assert not moved(before, whole.predictor.state_dict())
    whole.predictor.train(detector_bn == "batch")
    assert torch.allclose(whole.predictor(kept).logits, prediction.logits, atol=1e-6)
    assert torch.allclose(whole.predictor(left).logits, prediction.extras["detector_logits"], atol=1e-6)


@pytest.mark.parametrize("detector_bn", ["eval", "batch"])
def test_without_a_detector_the_predictor_learns_nothing_from_what_is_left(images: Tensor, detector_bn: str) -> None:
    whole = network(detector="none", detector_bn=detector_bn).train()
    mask = whole.select(images)
    before = {name: value.clone() for name, value in whole.predictor.state_dict().items()}
    detected = whole.detect(images, 1 - mask)
    detected.sum().backward()
    assert gradient(whole.predictor) == 0
    assert not moved(before, whole.predictor.state_dict())
    assert gradient(whole.selector) > 0
    assert whole.predictor.training
    seen = whole.hiding.blend(images, 1 - mask)  # type: ignore[attr-defined]
    if detector_bn == "eval":
        whole.predictor.eval()
    assert torch.allclose(whole.predictor(seen).logits, detected, atol=1e-6)


def test_a_trainable_detector_trains(images: Tensor) -> None:
    whole = network(detector="trainable").train()
    whole(images).extras["detector_logits"].sum().backward()
    assert whole.detector is not None
    assert whole.detector.training
    assert gradient(whole.detector) > 0


@pytest.mark.parametrize("detector", ["fixed", "none"])
@pytest.mark.parametrize("hiding", ["layer", "partial_convolution"])
def test_layer_masking_hides_and_the_selector_learns_through_grey_paint(
    images: Tensor, detector: str, hiding: str
) -> None:
    whole = network(hiding=hiding, detector=detector).train()
    prediction = whole(images)
    (mask,) = prediction.masks
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert prediction.interpolation == "nearest"
    visible = mask > 0.5
    judge = whole.predictor if whole.detector is None else whole.detector
    assert torch.allclose(prediction.logits, whole.hiding(whole.predictor, images, visible).logits, atol=1e-6)
    assert torch.allclose(prediction.extras["detector_logits"], whole.hiding(judge, images, ~visible).logits, atol=1e-6)
    assert not whole.predictor.training, "its batch norms keep the statistics of whole images"
    prediction.extras["detector_logits"].sum().backward()
    assert gradient(whole.selector) > 0
    assert gradient(whole.predictor) == 0


def test_the_predictor_under_layer_masking_learns_from_what_it_sees(images: Tensor) -> None:
    whole = network(hiding="layer").train()
    prediction = whole(images)
    visible = prediction.masks[0] > 0.5
    prediction.logits.square().sum().backward()
    got = [parameter.grad.clone() for parameter in whole.predictor.parameters() if parameter.grad is not None]
    whole.zero_grad()
    LayerMasking()(whole.predictor, images, visible).logits.square().sum().backward()
    expected = [parameter.grad for parameter in whole.predictor.parameters() if parameter.grad is not None]
    assert len(got) == len(expected) > 0
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(got, expected, strict=True))


def test_token_dropping_gives_a_transformer_its_features(images: Tensor) -> None:
    whole = network(backbone="test_vit", hiding="token_dropping", image_size=(160, 160)).train()
    prediction = whole(torch.rand(2, 3, 160, 160))
    assert prediction.features is not None
    assert whole.as_map(prediction.features).shape[-2:] == (10, 10)
    prediction.logits.sum().backward()
    assert gradient(whole.selector) > 0


def test_impossible_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="needs batch norms in evaluation: 'eval'"):
        network(hiding="layer", detector_bn="batch")
    with pytest.raises(ValueError, match="omit detector_backbone"):
        network(predictor="fixed", detector_backbone="test_resnet")
    with pytest.raises(ValueError, match="there is no way of hiding called 'gray'"):
        network(hiding="gray")
