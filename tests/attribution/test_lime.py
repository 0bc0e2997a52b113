"""LIME against scikit-learn's ridge regression, and against a classifier that is linear in its segments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from maskexp.attribution import lime_weights, paint_segments, random_designs
from maskexp.attribution.segments import Patches, segment_counts
from maskexp.masking.inputs import Black, Grey, InputMasking, LayerMasking
from maskexp.models import Classifier
from maskexp.types import Prediction


class Counts(nn.Module):
    """Logits whose softmax is linear in the brightness of two of the four quarters of an image of 4 × 4 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        probability = 0.1 + 0.5 * images[:, 0, 0, 0] + 0.3 * images[:, 0, 3, 3]
        return torch.stack([probability, 1 - probability], dim=1).log()


def white(count: int = 1) -> tuple[Tensor, Tensor]:
    images = torch.ones(count, 3, 4, 4)
    return images, Patches(2)(images)


def test_weights_of_a_linear_classifier_are_its_coefficients() -> None:
    images, segments = white()
    weights = lime_weights(Counts(), images, segments, Black(), torch.tensor([0]), alpha=1e-6)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0, 0, 0.3]], dtype=torch.float64), atol=1e-5, rtol=0)
    painted = paint_segments(weights, segments)
    assert painted.shape == (1, 1, 4, 4)
    assert painted[0, 0, 0, 0] == weights[0, 0]
    assert painted[0, 0, 3, 3] == weights[0, 3]


def test_weights_are_those_of_an_independent_ridge_regression() -> None:
    """With LIME's kernel and penalty, on images with different numbers of segments."""
    torch.manual_seed(0)
    network = Classifier("test_resnet", num_classes=3, weights=None, image_size=(32, 32)).eval()
    images, target = torch.rand(2, 3, 32, 32), torch.tensor([2, 0])
    segments = torch.stack([Patches(16)(images)[0], Patches(8)(images)[1]])
    designs = random_designs(segment_counts(segments), 40, torch.tensor([7, 8]))
    weights = lime_weights(network, images, segments, LayerMasking(), target, designs=designs, batch_size=16)
    for i, count in enumerate((4, 16)):
        design = designs[i, :, :count]
        with torch.no_grad():
            visible = design[:, segments[i]][:, None]
            prediction: Prediction = LayerMasking()(network, images[i].expand(40, -1, -1, -1), visible)
        distance = 1 - np.sqrt(design.double().mean(dim=1).numpy())
        ridge = Ridge(alpha=1.0).fit(
            design.double().numpy(),
            prediction.logits.softmax(dim=1)[:, target[i]].double().numpy(),
            sample_weight=np.sqrt(np.exp(-(distance**2) / 0.25**2)),
        )
        np.testing.assert_allclose(weights[i, :count].numpy(), ridge.coef_, atol=1e-6)
    assert not weights[0, 4:].any()


def test_designs_depend_on_the_row_alone() -> None:
    designs = random_designs(torch.tensor([3, 9]), 200, torch.tensor([4, 5]))
    assert designs.shape == (2, 200, 9)
    assert designs[0, 0, :3].all()
    assert designs[1, 0].all()
    assert not designs[0, :, 3:].any()
    assert 0.45 < designs[1, 1:].float().mean() < 0.55
    assert torch.equal(designs[1:], random_designs(torch.tensor([9]), 200, torch.tensor([5])))
    assert not torch.equal(designs[1:], random_designs(torch.tensor([9]), 200, torch.tensor([5]), seed=1))


def test_the_predicted_class_is_explained_if_none_is_given() -> None:
    images, segments = white(2)
    images[1] = 0  # 0.1 against 0.9: class 1
    of_predicted = lime_weights(Counts(), images, segments, Black(), samples=32)
    assert torch.equal(
        of_predicted, lime_weights(Counts(), images, segments, Black(), torch.tensor([0, 1]), samples=32)
    )


def test_a_hidden_segment_may_hold_anything_and_pixels_need_no_normalisation() -> None:
    images, segments = white()
    spoilt = images.clone()
    hidden = segments[0] == segments[0, 0, 0]
    spoilt[..., hidden] = float("nan")
    designs = random_designs(segment_counts(segments), 32, torch.arange(1))
    designs[..., segments[0, 0, 0]] = False
    weights = [
        lime_weights(Counts(), x, segments, Black(), torch.tensor([0]), designs=designs) for x in (images, spoilt)
    ]
    assert weights[0].isfinite().all()
    assert torch.equal(*weights)


def test_one_segment_that_is_never_hidden_weighs_nothing() -> None:
    images, _ = white()
    design = torch.ones(1, 8, 1, dtype=torch.bool)
    assert lime_weights(Counts(), images, torch.zeros(1, 4, 4).long(), Grey(), designs=design).tolist() == [[0.0]]


@pytest.mark.parametrize("hiding", [Black(), LayerMasking()])
def test_a_batch_is_explained_as_its_images_alone(hiding: InputMasking) -> None:
    torch.manual_seed(0)
    network = Classifier("test_resnet", num_classes=3, weights=None, image_size=(32, 32)).eval()
    images = torch.rand(2, 3, 32, 32)
    segments, target = Patches(16)(images), torch.tensor([0, 1])
    designs = random_designs(segment_counts(segments), 24, torch.tensor([0, 1]))
    together = lime_weights(network, images, segments, hiding, target, designs=designs)
    for i in range(2):
        alone = lime_weights(
            network, images[i : i + 1], segments[i : i + 1], hiding, target[i : i + 1], designs=designs[i : i + 1]
        )
        torch.testing.assert_close(alone[0], together[i])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, "kernel_width and alpha must be greater than 0"),
        ({"samples": 1}, "at least 2 perturbations"),
        ({"segments": torch.zeros(1, 3, 4).long()}, "need one map each"),
        ({"designs": torch.ones(1, 8, 3, dtype=torch.bool)}, r"need \(1, samples, 4\) of bool"),
        ({"designs": torch.ones(1, 8, 4)}, "of bool"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    images, segments = white()
    with pytest.raises(ValueError, match=message):
        lime_weights(Counts(), images, **{"segments": segments, "hiding": Black(), **arguments})  # type: ignore[arg-type]
