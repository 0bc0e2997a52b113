"""The features before the head, and networks that have none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.evaluation.head_input import find_head, head_input
from maskexp.masking.inputs import Black
from maskexp.models import Classifier
from maskexp.types import Prediction
from tests.evaluation.toys import Brightest


def test_features_are_those_before_the_head() -> None:
    torch.manual_seed(0)
    network = Classifier("test_resnet", num_classes=3, weights=None, image_size=(32, 32)).eval()
    images, visible = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32) > 0.5
    with torch.no_grad():
        head = find_head(network, images)
        assert head is network.network.get_classifier()
        logits = head(head_input(network, head, Black(), images, visible))
        torch.testing.assert_close(logits, Black()(network, images, visible).logits)


def test_a_network_without_a_linear_head_is_refused() -> None:
    class Headless(Brightest):
        def forward(self, images: Tensor) -> Prediction:
            return Prediction(logits=images.mean(dim=(2, 3)))

    with pytest.raises(ValueError, match="no linear layer of Headless gives its logits"):
        find_head(Headless(), torch.rand(1, 3, 8, 8))


def test_images_that_run_apart_are_refused() -> None:
    network, images = Brightest(), torch.rand(2, 3, 8, 8)

    class OneByOne(Black):
        def __call__(self, network: Brightest, images: Tensor, visible: Tensor) -> Prediction:  # type: ignore[override]
            parts = [network(image[None] * one[None]) for image, one in zip(images, visible, strict=True)]
            return Prediction(logits=torch.cat([part.logits for part in parts]))

    with pytest.raises(ValueError, match="run apart; choose sizes that are multiples of a patch"):
        head_input(network, network.head, OneByOne(), images, torch.ones(2, 1, 8, 8, dtype=torch.bool))
