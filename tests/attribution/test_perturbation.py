"""Occlusion, RISE and the map of LIME against captum, the published formula and the package lime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from lime.lime_image import LimeImageExplainer
from skimage.transform import resize
from torch import Tensor, nn

from maskexp.attribution import attribution_map, lime_weights, occlusion, rise
from maskexp.attribution.lime import SegmentMean, lime
from maskexp.attribution.perturbation import RiseMasks
from maskexp.attribution.segments import Patches
from maskexp.masking.inputs import Black, Blur, InputMasking, LayerMasking
from maskexp.models import Classifier
from maskexp.types import Prediction
from tests.attribution.references import REAL, real_network, small_network

# --- RISE --------------------------------------------------------------------------------------------------------


def published_masks(drawn: RiseMasks, size: tuple[int, int], cells: int) -> Tensor:
    """Return the masks of the released code for these grids and shifts, one by one by scikit-image."""
    steps = [-(-side // cells) for side in size]
    masks = []
    for number, grid in enumerate(drawn.grids.numpy()):
        large = resize(grid, [(cells + 1) * step for step in steps], order=1, mode="reflect", anti_aliasing=False)
        down, right = (int(shift[number]) for shift in drawn.shifts)
        masks.append(large[down : down + size[0], right : right + size[1]])
    return torch.from_numpy(np.stack(masks))[:, None].float()


@pytest.mark.parametrize(("size", "cells"), [((32, 32), 8), ((30, 45), 7), ((224, 224), 10), ((16, 16), 1)])
def test_masks_are_those_of_the_released_code(size: tuple[int, int], cells: int) -> None:
    drawn = RiseMasks(6, cells, 0.5, size, 0, torch.device("cpu"))
    expected = published_masks(drawn, size, cells)
    torch.testing.assert_close(drawn(0, 6), expected, atol=1e-5, rtol=0)
    assert torch.equal(drawn(2, 5), drawn(0, 6)[2:5])


def test_masks_show_each_pixel_as_often_as_a_cell() -> None:
    """Over 600 masks: the mean, and the means of single pixels."""
    masks = RiseMasks(600, 8, 0.5, (64, 64), 0, torch.device("cpu"))(0, 600)
    assert abs(masks.mean() - 0.5) < 0.01
    assert masks.mean(dim=0).min() > 0.43
    assert masks.mean(dim=0).max() < 0.57
    assert abs(RiseMasks(600, 8, 0.1, (64, 64), 0, torch.device("cpu"))(0, 600).mean() - 0.1) < 0.01


class Constant(nn.Module):
    """Is always certain of the first class."""

    def forward(self, images: Tensor) -> Tensor:
        return images.new_tensor([1000.0, 0.0]).expand(len(images), -1)


def test_a_constant_classifier_has_a_map_of_ones() -> None:
    found = rise(Constant(), torch.rand(2, 3, 64, 64), torch.tensor([0, 1]), masks=600)
    assert (found[0] - 1).abs().max() < 0.15
    assert abs(found[0].mean() - 1) < 0.02
    assert found[1].max() == 0


def published_rise(network: Classifier, images: Tensor, target: Tensor, masks: Tensor, keep: float) -> Tensor:
    """Return the published formula by a loop on normalised images."""
    maps = torch.zeros(len(images), 1, *images.shape[-2:])
    with torch.inference_mode():
        for mask in masks:
            for i, image in enumerate(images):
                logits = network.network(network.normalize(image[None]) * mask)
                maps[i] += logits.softmax(dim=1)[0, target[i]] * mask
    return maps / (len(masks) * keep)


def test_rise_is_the_published_formula() -> None:
    network, images, target = small_network()
    masks = published_masks(RiseMasks(20, 5, 0.4, (128, 128), 7, torch.device("cpu")), (128, 128), 5)
    expected = published_rise(network, images, target, masks, 0.4)
    for batch_size in (None, 3, 1):
        found = rise(network, images, target, masks=20, cells=5, keep=0.4, seed=7, batch_size=batch_size)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
def test_rise_is_the_published_formula_on_real_networks(architecture: str, shared: Path) -> None:
    network, images, target = real_network(architecture, shared)
    masks = published_masks(RiseMasks(24, 8, 0.5, (224, 224), 0, torch.device("cpu")), (224, 224), 8)
    expected = published_rise(network, images, target, masks, 0.5)
    torch.testing.assert_close(rise(network, images, target, masks=24), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("hiding", [Black(), Blur(), LayerMasking()])
def test_rise_hides_in_any_way(hiding: InputMasking) -> None:
    """Layer masking sees, and weighs, hard masks; what paints blends."""
    network, images, target = small_network()
    masks = RiseMasks(9, 8, 0.5, (128, 128), 0, torch.device("cpu"))(0, 9)
    expected = torch.zeros(2, 1, 128, 128)
    with torch.inference_mode():
        for mask in masks:
            if isinstance(hiding, LayerMasking):
                mask = (mask > 0.5).float()
                prediction: Prediction = hiding(network, images, (mask > 0.5).expand(2, 1, -1, -1))
            else:
                prediction = network(hiding.blend(images, mask.expand(2, -1, -1, -1)))
            share = prediction.logits.softmax(dim=1).gather(1, target[:, None])
            expected += share[..., None, None] * mask
    found = rise(network, images, target, hiding=hiding, masks=9)
    torch.testing.assert_close(found, expected / 4.5, atol=1e-4, rtol=1e-3)


def test_a_share_of_cells_that_is_none_is_refused() -> None:
    network, images, target = small_network()
    with pytest.raises(ValueError, match=r"keep is 1\.5; it is the probability"):
        attribution_map("rise:keep=1.5")(network, images, target)


# --- occlusion ---------------------------------------------------------------------------------------------------


def occlusion_in_captum(network: Classifier, images: Tensor, target: Tensor, window: int, stride: int) -> Tensor:
    found: Tensor = Occlusion(lambda given: network.network(given).softmax(dim=1)).attribute(
        network.normalize(images), (3, window, window), strides=(3, stride, stride), target=target, baselines=0
    )
    return found[:, :1]


@pytest.mark.parametrize(("window", "stride"), [(32, 32), (48, 20)])
def test_occlusion_as_in_captum(window: int, stride: int) -> None:
    network, images, target = small_network()
    with torch.no_grad():
        expected = occlusion_in_captum(network, images, target, window, stride)
    found = occlusion(network, images, target, window=window, stride=stride, batch_size=5)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
def test_occlusion_as_in_captum_on_real_networks(architecture: str, shared: Path) -> None:
    network, images, target = real_network(architecture, shared)
    with torch.no_grad():
        expected = occlusion_in_captum(network, images, target, 64, 40)
    found = occlusion(network, images, target, window=64, stride=40)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-3)


def test_occlusion_hides_windows_in_any_way() -> None:
    network, images, target = small_network()
    visible = torch.ones(2, 1, 128, 128, dtype=torch.bool)
    visible[..., :64, 64:] = False
    with torch.inference_mode():
        whole = network(images).logits.softmax(dim=1).gather(1, target[:, None])
        hidden: Prediction = LayerMasking()(network, images, visible)
    found = occlusion(network, images, target, hiding=LayerMasking(), window=64, stride=64)
    expected = whole - hidden.logits.softmax(dim=1).gather(1, target[:, None])
    torch.testing.assert_close(found[:, 0, 10, 100], expected[:, 0], atol=1e-5, rtol=1e-3)


# --- LIME --------------------------------------------------------------------------------------------------------


class Explainer(LimeImageExplainer):  # type: ignore[misc]
    """The package's explainer, which keeps the perturbations that it drew."""

    def data_labels(self, *args: Any, **options: Any) -> Any:
        self.drawn, labels = super().data_labels(*args, **options)
        return self.drawn, labels


def compare_with_lime(network: Classifier, image: Tensor, target: Tensor, samples: int) -> None:
    segments = Patches(32)(image)
    explainer = Explainer(random_state=0)

    def classify(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).logits.softmax(dim=1).numpy()

    theirs = explainer.explain_instance(
        image[0].permute(1, 2, 0).double().numpy(),
        classify,
        labels=(int(target),),
        num_features=100_000,
        num_samples=samples,
        segmentation_fn=lambda _: segments[0].numpy(),
    ).local_exp[int(target)]
    expected = torch.zeros(len(theirs), dtype=torch.float64)
    for segment, weight in theirs:
        expected[segment] = weight
    designs = torch.from_numpy(explainer.drawn).bool()[None]
    found = lime_weights(network, image, segments, SegmentMean(image, segments), target, designs=designs)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-3)


def test_weights_as_in_the_package_lime() -> None:
    network, images, target = small_network()
    compare_with_lime(network, images[:1], target[:1], 60)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
def test_weights_as_in_the_package_lime_on_real_networks(architecture: str, shared: Path) -> None:
    compare_with_lime(*real_network(architecture, shared, images=1), 100)


def test_the_map_of_lime_paints_the_weights_of_segments_that_are_hidden_in_their_mean_colour() -> None:
    network, images, target = small_network()
    segments = Patches(64)(images)
    found = lime(network, images, target, segments="patches64", samples=30)
    assert found.shape == (2, 1, 128, 128)
    for i in range(2):
        part = SegmentMean(images[i : i + 1], segments[i : i + 1])
        mean = images[i, :, :64, 64:].mean(dim=(1, 2))
        torch.testing.assert_close(part.colours[0, :, 3, 70], mean)
        assert found[i, 0, :64, :64].unique().numel() == 1
    alone = lime(network, images[1:], target[1:], segments="patches64", samples=30)
    torch.testing.assert_close(alone, found[1:], atol=1e-4, rtol=1e-3)


def test_an_image_without_structure_has_segments_without_weight() -> None:
    network, images, target = small_network()
    found = lime(network, torch.full_like(images[:1], 0.5), target[:1], samples=4)
    assert found.abs().max() < 1e-6
