"""Maps from gradients against captum, and against what they have to add up to.

In double precision where single values are compared: gradients jump where a rounding turns a ReLU on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from maskexp.attribution import attribution_map, input_x_gradient, integrated_gradients, smooth_grad
from maskexp.masking.inputs import Blur, LayerMasking
from maskexp.models import Classifier
from tests.attribution.references import REAL, real_network, small_network


def compare(network: Classifier, images: Tensor, target: Tensor, tolerance: float) -> None:
    """Compare with captum on normalised images, in units of each map's greatest value."""
    network, images = network.double(), images.double()
    plain, normalized = network.network, network.normalize(images)
    ours = [input_x_gradient(network, images, target), integrated_gradients(network, images, target, steps=8)]
    theirs = [
        InputXGradient(plain).attribute(normalized.requires_grad_(), target),
        IntegratedGradients(plain).attribute(normalized, target=target, n_steps=8, internal_batch_size=8),
    ]
    for found, expected in zip(ours, theirs, strict=True):
        expected = expected.sum(dim=1, keepdim=True)
        difference = (found - expected).abs().amax() / expected.abs().amax()
        assert difference < tolerance


def test_as_in_captum() -> None:
    compare(*small_network(), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(REAL))
def test_as_in_captum_on_real_networks(architecture: str, shared: Path) -> None:
    compare(*real_network(architecture, shared), 1e-3)


@pytest.mark.parametrize("hiding", [None, Blur()])
def test_integrated_gradients_add_up_to_what_the_image_has_over_its_hidden_self(hiding: Blur | None) -> None:
    network, images, target = small_network()
    images, target = images[:1], target[:1]
    found = integrated_gradients(network, images, target, hiding=hiding, steps=150)
    nowhere = torch.zeros_like(images[:, :1], dtype=torch.bool)
    begin = network.normalize.mean.expand_as(images) if hiding is None else hiding.fill(images, nowhere)
    with torch.no_grad():
        gained = (network(images).logits - network(begin).logits).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), gained, atol=0.02, rtol=0.01)


def test_smooth_grad_is_the_mean_gradient_over_noisy_copies() -> None:
    """Of captum's gradients on the same noise, whose deviation is a share of each image's range."""
    network, images, target = small_network()
    network, images = network.double(), images.double() * torch.tensor([1.0, 0.5])[:, None, None, None]
    generator = torch.Generator().manual_seed(3)
    drawn = torch.stack([torch.randn(images.shape[1:], generator=generator) for _ in range(4)])
    gradients = []
    for noise in drawn:
        extent = torch.stack([(image.max() - image.min()) * 0.2 for image in images])
        noisy = (images + extent[:, None, None, None] * noise).requires_grad_()
        gradients.append(Saliency(lambda given: network(given).logits).attribute(noisy, target, abs=False))
    expected = torch.stack(gradients).mean(dim=0).abs().sum(dim=1, keepdim=True)
    found = smooth_grad(network, images, target, samples=4, noise=0.2, seed=3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["input_x_gradient", "integrated_gradients:steps=5", "smooth_grad:samples=5"])
def test_batches_and_inference_mode_change_nothing(name: str) -> None:
    network, images, target = small_network()
    network, images = network.double(), images.double()
    whole = attribution_map(name)(network, images, target)
    with torch.inference_mode():
        inside = attribution_map(name)(network, images.clone(), target.clone())
    torch.testing.assert_close(inside, whole, atol=1e-4, rtol=1e-3)
    one = attribution_map(name)(network, images[1:], target[1:])
    torch.testing.assert_close(one, whole[1:], atol=1e-4, rtol=1e-3)
    if ":" in name:
        split = attribution_map(f"{name}:batch_size=3")(network, images, target)
        torch.testing.assert_close(split, whole, atol=1e-4, rtol=1e-3)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_way_of_hiding_that_makes_no_image_is_no_baseline() -> None:
    network, images, target = small_network()
    with pytest.raises(ValueError, match=r"integrated_gradients compares with an image.*LayerMasking makes none"):
        integrated_gradients(network, images, target, hiding=LayerMasking())
