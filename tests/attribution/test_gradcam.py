"""Grad-CAM against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.attribution import grad_cam
from maskexp.models import Classifier
from maskexp.types import Prediction


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


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0, [[0.25, 0.5], [1.0, 0.0]]), (1, [[0.0, 0.0], [0.0, 0.0]]), (2, [[0.0, 0.25], [1.0, 0.0]])],
)
def test_values_on_a_pooled_linear_classifier(target: int, expected: list[list[float]]) -> None:
    cam = grad_cam(PooledLinear(), torch.empty(1, 3, 8, 8), torch.tensor([target]), FEATURES)
    torch.testing.assert_close(cam, torch.tensor([[expected]]))


def test_gradients_flow_inside_inference_mode_and_leave_no_trace() -> None:
    network = Classifier("test_resnet", num_classes=3, weights=None, image_size=(32, 32)).eval()
    with torch.inference_mode():
        images = torch.rand(2, 3, 32, 32)
        prediction = network(images)
        cam = grad_cam(network, images, prediction.logits.argmax(1), prediction.features)
    assert cam.shape == (2, 1, 1, 1)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_every_kind_of_network_has_a_map(name: str) -> None:
    torch.manual_seed(0)
    network = Classifier(name, num_classes=2, weights=None, image_size=(64, 64)).eval()
    images, target = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    cam = grad_cam(network, images, target)
    assert torch.equal(cam, grad_cam(network, images, target, network(images).features))
    assert cam.shape[:2] == (2, 1)
    assert cam.min() >= 0
    assert cam.max() <= 1


def test_a_network_without_spatial_features_is_refused() -> None:
    with pytest.raises(ValueError, match="PooledLinear returns no last spatial features"):
        grad_cam(PooledLinear(), torch.zeros(1, 3, 4, 4), torch.tensor([0]))
