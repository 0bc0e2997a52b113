"""The features before the head, and networks that have none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.evaluation.penultimate_features import PenultimateFeatures
from maskexp.masking.inputs import Black
from maskexp.models import Classifier
from maskexp.types import Prediction
from tests.evaluation.doubles import ColourMeans


def shown(images: Tensor) -> tuple[Tensor, Tensor]:
    return images, torch.ones_like(images[:, :1], dtype=torch.bool)


def test_features_are_those_before_the_head() -> None:
    torch.manual_seed(0)
    network = Classifier("test_resnet", num_classes=3, weights=None, image_size=(32, 32)).eval()
    images, visible = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32) > 0.5
    with torch.no_grad():
        features = PenultimateFeatures(network)
        logits = network.network.get_classifier()(features(Black(), images, visible))
        assert features.head is network.network.get_classifier()
        torch.testing.assert_close(logits, Black()(network, images, visible).logits)


def test_a_network_without_a_linear_head_is_refused() -> None:
    class Headless(ColourMeans):
        def forward(self, images: Tensor) -> Prediction:
            return Prediction(logits=images.mean(dim=(2, 3)))

    with pytest.raises(ValueError, match="no linear layer of Headless gives its logits"):
        PenultimateFeatures(Headless())(Black(), *shown(torch.rand(1, 3, 8, 8)))


def test_images_that_run_apart_are_refused() -> None:
    network, images = ColourMeans(), torch.rand(2, 3, 8, 8)

    class OneByOne(Black):
        def __call__(self, network: ColourMeans, images: Tensor, visible: Tensor) -> Prediction:  # type: ignore[override]
            parts = [network(image[None] * one[None]) for image, one in zip(images, visible, strict=True)]
            return Prediction(logits=torch.cat([part.logits for part in parts]))

    with pytest.raises(ValueError, match="run apart; choose sizes that are multiples of a patch"):
        PenultimateFeatures(network)(OneByOne(), *shown(images))


def test_a_diverged_network_is_named() -> None:
    images = torch.rand(3, 3, 8, 8)
    images[1] = torch.nan
    with pytest.raises(ValueError, match=r"the network's head holds NaN .* in images \[1\] .*; look for a diverged"):
        PenultimateFeatures(ColourMeans())(Black(), *shown(images))
