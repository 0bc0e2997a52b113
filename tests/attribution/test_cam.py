"""The CAM family against values worked out by hand, torch-cam, pytorch-grad-cam and captum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_grad_cam
import timm
import torch
import torch.nn.functional as F
import torchcam.methods
from captum.attr import LayerGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from maskexp.attribution import (
    ablation_cam,
    attribution_map,
    cam,
    grad_cam,
    grad_cam_plus_plus,
    layer_cam,
    score_cam,
    xgrad_cam,
)
from maskexp.masking.inputs import LayerMasking
from maskexp.metrics.functional.inputs import minmax_normalize
from maskexp.models import Classifier
from maskexp.types import Prediction
from tests.attribution.references import LAST, REAL, real_network, small_network

Map = Callable[..., Tensor]
FAMILY = [
    "ablation_cam",
    "cam",
    "grad_cam",
    "grad_cam_plus_plus",
    "layer_cam",
    "score_cam",
    "xgrad_cam",
]


class PooledLinear:
    """Global average pooling and a fixed linear layer: Grad-CAM is then CAM / (h w)."""

    weight = torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, -1.0]])

    def __call__(self, images: Tensor) -> Prediction:
        return Prediction(torch.zeros(len(images), 3))

    def classify(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3)) @ self.weight.T

    def as_map(self, features: Tensor) -> Tensor:
        return features


FEATURES = torch.tensor([[[[1.0, 2.0], [4.0, 0.0]], [[1.0, 1.0], [0.0, 3.0]]]])
NO_IMAGES = torch.empty(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0, [[0.25, 0.5], [1.0, 0.0]]), (1, [[0.0, 0.0], [0.0, 0.0]]), (2, [[0.0, 0.25], [1.0, 0.0]])],
)
def test_grad_cam_of_a_pooled_linear_classifier(target: int, expected: list[list[float]]) -> None:
    found = attribution_map("grad_cam")(PooledLinear(), NO_IMAGES, torch.tensor([target]), FEATURES)
    torch.testing.assert_close(found, torch.tensor([[expected]]))


def test_grad_cam_is_the_positive_part_of_cam_over_the_positions() -> None:
    for target in range(3):
        chosen = torch.tensor([target])
        whole = cam(PooledLinear(), NO_IMAGES, chosen, FEATURES)
        expected = (PooledLinear.weight[target][None, :, None, None] * FEATURES).sum(dim=1, keepdim=True)
        torch.testing.assert_close(whole, expected)
        torch.testing.assert_close(grad_cam(PooledLinear(), NO_IMAGES, chosen, FEATURES), whole.relu() / 4)


def test_values_of_the_other_gradient_weights_by_hand() -> None:
    """The gradient of the logit is w / 4 everywhere, w = (1, -1) for this class; channels sum to 7 and 5."""
    chosen = torch.tensor([2])
    first, second = FEATURES[:, :1], FEATURES[:, 1:]
    torch.testing.assert_close(layer_cam(PooledLinear(), NO_IMAGES, chosen, FEATURES), 0.25 * first)
    weight = 4 * 0.25 / (2 + 0.25 * 7)
    torch.testing.assert_close(grad_cam_plus_plus(PooledLinear(), NO_IMAGES, chosen, FEATURES), weight * first)
    expected = (0.25 * first - 0.25 * second).relu()
    torch.testing.assert_close(xgrad_cam(PooledLinear(), NO_IMAGES, chosen, FEATURES), expected)
    # the logit is (7 - 5) / 4; without a channel it is -5 / 4 or 7 / 4
    lost = [(0.5 + 1.25) / 0.5, (0.5 - 1.75) / 0.5]
    expected = (lost[0] * first + lost[1] * second).relu()
    torch.testing.assert_close(ablation_cam(PooledLinear(), NO_IMAGES, chosen, FEATURES), expected)


# --- other packages ----------------------------------------------------------------------------------------------


def torchcam_map(kind: str, network: Classifier, images: Tensor, target: Tensor, layer: str) -> Tensor:
    """Return a map of torch-cam, stretched to [0, 1] on the layer's grid."""
    arguments = {"fc_layer": "fc" if hasattr(network.network, "fc") else "classifier"} if kind == "CAM" else {}
    with getattr(torchcam.methods, kind)(network.network, layer, **arguments) as extractor:
        scores = network.network(network.normalize(images))
        (found,) = extractor(target.tolist(), scores)
    return found.detach()[:, None]


def gradcam_map(kind: str, network: Classifier, images: Tensor, target: Tensor, layer: str) -> Tensor:
    """Return a map of pytorch-grad-cam: stretched to [0, 1], enlarged to the image, and stretched again."""
    targets = [ClassifierOutputTarget(each) for each in target.tolist()]
    module = network.network.get_submodule(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with getattr(pytorch_grad_cam, kind)(network.network, [module]) as extractor:
            found = extractor(network.normalize(images), targets)
    return torch.from_numpy(found)[:, None]


# pytorch-grad-cam adds 1e-7 to 1e-6 to denominators; torch-cam's Grad-CAM++ leaves a division out and is no reference.
TORCHCAM = {"cam": "CAM", "grad_cam": "GradCAM", "xgrad_cam": "XGradCAM", "layer_cam": "LayerCAM"}
GRADCAM = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "xgrad_cam": "XGradCAM",
    "layer_cam": "LayerCAM",
    "ablation_cam": "AblationCAM",
}


def compare(name: str, network: Classifier, images: Tensor, target: Tensor, layer: str, tolerance: float) -> None:
    """Compare a map, stretched, with each package that has it."""
    compute: Any = {
        "ablation_cam": ablation_cam,
        "cam": cam,
        "grad_cam": grad_cam,
        "grad_cam_plus_plus": grad_cam_plus_plus,
        "layer_cam": layer_cam,
        "score_cam": score_cam,
        "xgrad_cam": xgrad_cam,
    }[name]
    ours = minmax_normalize(compute(network, images, target))
    if name in TORCHCAM:
        theirs = torchcam_map(TORCHCAM[name], network, images, target, layer)
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
    if name in GRADCAM:
        large = minmax_normalize(F.interpolate(ours, images.shape[-2:], mode="bilinear"))
        theirs = gradcam_map(GRADCAM[name], network, images, target, layer)
        torch.testing.assert_close(large, theirs, atol=tolerance, rtol=0)
    assert ours.amax() > 0.5


@pytest.mark.parametrize("name", sorted((TORCHCAM | GRADCAM).keys() - {"grad_cam_plus_plus"}))
def test_as_in_torch_cam_and_pytorch_grad_cam(name: str) -> None:
    network, images, target = small_network()
    compare(name, network, images, target, LAST["test_resnet"], 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
@pytest.mark.parametrize("name", sorted((TORCHCAM | GRADCAM).keys() - {"grad_cam_plus_plus"}))
def test_as_in_torch_cam_and_pytorch_grad_cam_on_real_networks(name: str, architecture: str, shared: Path) -> None:
    # a forward pass for each of 1280 or 2048 channels, on smaller images
    case = real_network(architecture, shared, 1, 64) if name == "ablation_cam" else real_network(architecture, shared)
    compare(name, *case, LAST[architecture], 1e-3)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_grad_cam_plus_plus_differs_from_pytorch_grad_cam_by_its_epsilon_alone(scale: float) -> None:
    """Which is next to nothing where squares of gradients are large."""
    network, images, target = small_network()
    with torch.no_grad():
        network.network.get_classifier().weight.mul_(scale)
    compare("grad_cam_plus_plus", network, images, target, LAST["test_resnet"], 1e-2 if scale == 1 else 1e-5)


def test_grad_cam_as_in_captum() -> None:
    network, images, target = small_network()
    theirs = LayerGradCam(network.network, network.network.layer4).attribute(
        network.normalize(images), target, relu_attributions=True
    )
    torch.testing.assert_close(grad_cam(network, images, target), theirs, atol=1e-6, rtol=1e-4)


def test_score_cam_as_in_torch_cam_and_near_pytorch_grad_cam() -> None:
    """The latter enlarges by another rule before it stretches, so that its maps differ a little."""
    network, images, target = small_network()
    ours = minmax_normalize(score_cam(network, images, target))
    theirs = torchcam_map("ScoreCAM", network, images, target, "layer4")
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    others = gradcam_map("ScoreCAM", network, images, target, "layer4")
    large = F.interpolate(ours, images.shape[-2:], mode="bilinear")
    assert torch.corrcoef(torch.stack([large.flatten(), others.flatten()]))[0, 1] > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
def test_score_cam_as_in_torch_cam_on_real_networks(architecture: str, shared: Path) -> None:
    network, images, target = real_network(architecture, shared, 1, 96)
    ours = minmax_normalize(score_cam(network, images, target))
    with torch.no_grad():
        theirs = torchcam_map("ScoreCAM", network, images, target, LAST[architecture])
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_score_cam_by_a_loop_with_layer_masking() -> None:
    """Each channel by itself, a hard mask where it exceeds one half."""
    network, images, target = small_network()
    images, target = images[:1], target[:1]
    activations = network(images).features.detach()
    scores = []
    for channel in activations[0]:
        mask = minmax_normalize(channel[None, None])
        visible = F.interpolate(mask, images.shape[-2:], mode="bilinear") > 0.5
        with torch.inference_mode():
            from_parts = LayerMasking()(network, images, visible)
        scores.append(from_parts.logits[0, target[0]])
    weights = torch.stack(scores).softmax(dim=0)
    expected = (weights[None, :, None, None] * activations).sum(dim=1, keepdim=True).relu()
    found = score_cam(network, images, target, hiding=LayerMasking())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


# --- networks, layers, batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_batches_gradients_and_inference_mode_change_nothing(name: str) -> None:
    network, images, target = small_network()
    whole = attribution_map(name)(network, images, target)
    with torch.inference_mode():
        prediction = network(images)
        inside = attribution_map(name)(network, images.clone(), target.clone(), prediction.features)
    torch.testing.assert_close(inside, whole, atol=1e-4, rtol=1e-3)
    one = attribution_map(name)(network, images[1:2], target[1:2])
    torch.testing.assert_close(one, whole[1:2], atol=1e-4, rtol=1e-3)
    if name in ("ablation_cam", "score_cam"):
        split = attribution_map(f"{name}:batch_size=7")(network, images, target)
        torch.testing.assert_close(split, whole, atol=1e-4, rtol=1e-3)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(set(FAMILY) - {"cam", "score_cam"}))
def test_the_last_layer_by_name_is_the_default(name: str) -> None:
    network, images, target = small_network()
    by_name = attribution_map(f"{name}:layer=layer4")(network, images, target)
    torch.testing.assert_close(by_name, attribution_map(name)(network, images, target), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "xgrad_cam", "grad_cam_plus_plus"])
def test_an_earlier_layer_as_in_pytorch_grad_cam(name: str) -> None:
    network, images, target = small_network()
    ours = minmax_normalize(attribution_map(f"{name}:layer=layer2")(network, images, target))
    large = minmax_normalize(F.interpolate(ours, images.shape[-2:], mode="bilinear"))
    theirs = gradcam_map(GRADCAM[name], network, images, target, "layer2")
    tolerance = 0.1 if name == "grad_cam_plus_plus" else 1e-3  # its epsilon again, beside smaller gradients
    torch.testing.assert_close(large, theirs, atol=tolerance, rtol=0)


def test_any_module_that_returns_logits_is_explained_at_a_layer() -> None:
    network, images, target = small_network()
    plain: nn.Module = network.network
    normalized = network.normalize(images)
    for name in ("grad_cam", "score_cam", "ablation_cam"):
        found = attribution_map(f"{name}:layer=layer4")(plain, normalized, target)
        torch.testing.assert_close(found, attribution_map(name)(network, images, target), atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match=r"Sequential does not say which spatial features.*grad_cam:layer=NAME"):
        grad_cam(nn.Sequential(plain), normalized, target)


@pytest.mark.parametrize("architecture", ["test_resnet", "swin_tiny_patch4_window7_224"])
def test_a_bare_network_of_timm_has_the_maps_of_the_classifier_around_it(architecture: str) -> None:
    torch.manual_seed(0)
    network = Classifier(architecture, num_classes=4, weights=None, image_size=(64, 64)).eval()
    images, target = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    normalized = network.normalize(images)
    for name in ("cam", "grad_cam", "layer_cam", "ablation_cam", "rise:masks=9", "occlusion:window=32:stride=32"):
        found = attribution_map(name)(network.network, normalized, target)
        expected = attribution_map(name)(network, images, target)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_tokens_of_a_bare_transformer_are_refused_as_no_map() -> None:
    network = timm.create_model("test_vit", img_size=64).eval()
    with pytest.raises(ValueError, match=r"VisionTransformer returns features \(1, 17, 64\) that are no map"):
        grad_cam(network, torch.rand(1, 3, 64, 64), torch.tensor([0]))


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_every_kind_of_network_has_a_map(name: str) -> None:
    torch.manual_seed(0)
    network = Classifier(name, num_classes=2, weights=None, image_size=(64, 64)).eval()
    images, target = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    found = attribution_map("grad_cam")(network, images, target)
    assert torch.equal(found, attribution_map("grad_cam")(network, images, target, network(images).features))
    assert found.shape[:2] == (2, 1)
    for each in ("grad_cam_plus_plus", "layer_cam", "xgrad_cam", "ablation_cam"):
        other = attribution_map(each)(network, images, target)
        assert other.shape == found.shape
        assert other.min() >= 0
        assert other.max() <= 1


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_ablation_by_a_loop_over_channels(name: str) -> None:
    """Tokens have their channels last, feature maps behind the batch."""
    torch.manual_seed(0)
    network = Classifier(name, num_classes=3, weights=None, image_size=(64, 64)).eval()
    images, target = torch.rand(1, 3, 64, 64), torch.tensor([1])
    with torch.no_grad():
        features = network(images).features
        score = network.classify(features)[0, 1]
        activations = network.as_map(features)
        expected = torch.zeros(1, 1, *activations.shape[2:])
        for channel in range(activations.shape[1]):
            less = features.clone()
            if name == "test_vit":
                less[..., channel] = 0
            else:
                less[:, channel] = 0
            expected += (score - network.classify(less)[0, 1]) / score * activations[:, channel]
    torch.testing.assert_close(ablation_cam(network, images, target), expected.relu(), atol=1e-4, rtol=1e-3)


# --- bad input ---------------------------------------------------------------------------------------------------


def test_a_network_without_spatial_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"PooledLinear returns no last spatial features.*layer=NAME"):
        grad_cam(PooledLinear(), torch.zeros(1, 3, 4, 4), torch.tensor([0]))


def test_cam_refuses_a_head_that_is_more_than_pooling_and_a_linear_layer() -> None:
    network = Classifier("test_vit", num_classes=2, weights=None, image_size=(64, 64)).eval()
    with pytest.raises(ValueError, match=r"the head of Classifier is more than that; choose grad_cam"):
        cam(network, torch.rand(1, 3, 64, 64), torch.tensor([0]))


def test_layers_that_are_unknown_ambiguous_or_no_map_are_named() -> None:
    network, images, target = small_network()
    with pytest.raises(ValueError, match=r"no layer 'layer9'; did you mean 'layer\d'.* There are network.conv1, .*"):
        grad_cam(network, images, target, layer="layer9")
    with pytest.raises(ValueError, match=r"'0' may be any of 5 layers of Classifier: network.conv1.0, "):
        grad_cam(network, images, target, layer="0")
    with pytest.raises(ValueError, match=r"the layer 'fc' returns features \(2, 4\) that are no map"):
        grad_cam(network, images, target, layer="fc")


class Explosive(nn.Module):
    """Raises behind its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.first(images)
        raise RuntimeError("this network cannot do it")


@pytest.mark.parametrize("name", ["grad_cam", "score_cam", "ablation_cam"])
def test_no_hook_stays_when_the_network_raises(name: str) -> None:
    network = Explosive().eval()
    with pytest.raises(RuntimeError, match="this network cannot do it"):
        attribution_map(f"{name}:layer=first")(network, torch.rand(1, 3, 8, 8), torch.tensor([0]))
    assert not network.first._forward_hooks
