"""Fills: which values the network sees where hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from maskexp.masking.inputs import (
    IMAGENET_MEAN,
    Black,
    Blur,
    Colour,
    EdgeSmoothed,
    Fill,
    Grey,
    LayerMasking,
    Mean,
    Noise,
    TokenDropping,
    create_input_masking,
)
from maskexp.models import Classifier

EVERY = (Grey(), Black(), Colour((0.1, 0.2, 0.3)), Mean(), EdgeSmoothed(), Noise())
"""Every fill that keeps nothing of what it hides."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _case() -> tuple[Tensor, Tensor]:
    visible = torch.rand(2, 1, 16, 12) > 0.3
    visible[1, :, 4:12] = False
    return torch.rand(2, 3, 16, 12), visible


@pytest.mark.parametrize("fill", [*EVERY, Blur()], ids=lambda fill: type(fill).__name__)
def test_the_network_sees_the_filled_images(fill: Fill) -> None:
    images, visible = _case()
    before = images.clone()
    seen = fill(nn.Identity(), images, visible)
    assert torch.equal(seen, fill.fill(images, visible))
    assert torch.equal(torch.where(visible, seen, 0), torch.where(visible, images, 0))
    assert not torch.equal(seen, images)
    assert torch.equal(images, before)
    assert torch.equal(fill.fill(images, torch.ones_like(visible)), images)


@pytest.mark.parametrize("fill", EVERY, ids=lambda fill: type(fill).__name__)
def test_what_is_hidden_does_not_matter(fill: Fill) -> None:
    images, visible = _case()
    assert torch.equal(fill.fill(images, visible), fill.fill(torch.where(visible, images, torch.nan), visible))


@pytest.mark.parametrize("fill", [*EVERY, Blur()], ids=lambda fill: type(fill).__name__)
def test_images_of_a_batch_do_not_touch(fill: Fill) -> None:
    images, visible = _case()
    alone = [fill.fill(images[row : row + 1], visible[row : row + 1]) for row in range(2)]
    torch.testing.assert_close(torch.cat(alone), fill.fill(images, visible), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("fill", "colour"),
    [(Grey(), IMAGENET_MEAN), (Black(), (0.0, 0.0, 0.0)), (Colour((0.1, 0.2, 0.3)), (0.1, 0.2, 0.3))],
)
def test_colours(fill: Fill, colour: tuple[float, ...]) -> None:
    images, visible = _case()
    hidden = fill.fill(images, visible).movedim(1, -1)[~visible[:, 0]]
    torch.testing.assert_close(hidden, torch.tensor(colour).expand_as(hidden))


def test_grey_is_zero_behind_the_normalisation_of_a_network() -> None:
    network = Classifier("test_resnet", 2, weights=None, image_size=(32, 32))
    images = torch.rand(1, 3, 32, 32)
    grey = Colour(tuple(network.normalize.mean.flatten().tolist())).fill(images, torch.zeros(1, 1, 32, 32).bool())
    torch.testing.assert_close(network.normalize(grey), torch.zeros_like(grey), rtol=0, atol=1e-6)


def test_mean_is_that_of_the_visible_pixels() -> None:
    images = torch.tensor([[[[1.0, 3.0], [torch.nan, torch.nan]]]])
    assert torch.equal(Mean().fill(images, ~images.isnan()), torch.tensor([[[[1.0, 3.0], [2.0, 2.0]]]]))
    assert torch.equal(Mean().fill(images, torch.zeros_like(images).bool()), torch.zeros_like(images))


def test_the_smoothed_edge_lies_between_the_image_and_the_colour() -> None:
    images, visible = torch.ones(1, 1, 9, 9), torch.ones(1, 1, 9, 9, dtype=torch.bool)
    visible[..., 4:] = False
    row = EdgeSmoothed((0.0,)).fill(images, visible)[0, 0, 4]
    # Weights of a Gaussian of sigma 1 over five pixels: 0.0545, 0.2442, 0.4026 ...
    expected = [1, 1, 1, 1, 0.0545 + 0.2442, 0.0545, 0, 0, 0]
    torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-4)


def test_blur_keeps_a_constant_and_smooths_a_point() -> None:
    constant = torch.full((1, 3, 9, 9), 0.7)
    torch.testing.assert_close(Blur().fill(constant, torch.zeros(1, 1, 9, 9).bool()), constant)
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1
    blurred = Blur(sigma=2.0, kernel_size=13).fill(point, torch.zeros(1, 1, 31, 31).bool())
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    ratio = blurred[..., 15, 17] / blurred[..., 15, 15]
    assert ratio.item() == pytest.approx(torch.e**-0.5, abs=1e-4)


def test_noise_is_seeded_and_leaves_the_global_state_alone() -> None:
    images, hidden = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    before = torch.random.get_rng_state()
    noise = Noise(seed=1).fill(images, hidden)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(noise, Noise(seed=1).fill(images, hidden))
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, Noise(seed=2).fill(images, hidden))
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("way", [Grey(), LayerMasking(), TokenDropping()], ids=lambda way: type(way).__name__)
@pytest.mark.parametrize(
    ("visible", "error", "message"),
    [
        (torch.ones(2, 1, 16, 12), TypeError, r"float32.*give a bool mask, e\.g\. mask > 0\.5"),
        (
            torch.ones(2, 3, 16, 12).bool(),
            ValueError,
            r"visible is \(2, 3, 16, 12\).*need one channel.*\(2, 1, 16, 12\)",
        ),
        (torch.ones(2, 1, 8, 12).bool(), ValueError, r"visible is \(2, 1, 8, 12\)"),
        (torch.ones(1, 1, 16, 12).bool(), ValueError, r"visible is \(1, 1, 16, 12\)"),
        (torch.ones(2, 16, 12).bool(), ValueError, r"visible is \(2, 16, 12\)"),
        (torch.ones(2, 1, 16, 12, device="meta").bool(), ValueError, "visible is on meta, but the images are on cpu"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(way: Fill, visible: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        way(nn.Identity().eval(), torch.rand(2, 3, 16, 12), visible)


@pytest.mark.parametrize("images", [torch.rand(3, 16, 12), torch.zeros(2, 3, 16, 12, dtype=torch.uint8)])
def test_images_that_are_no_batch_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="give a batch"):
        Grey()(nn.Identity(), images, torch.ones(2, 1, 16, 12).bool())


def test_bad_arguments_are_refused() -> None:
    images, visible = _case()
    with pytest.raises(ValueError, match="has 1 values, but the images have 3 channels"):
        Colour((0.5,)).fill(images, visible)
    for made in (Blur, EdgeSmoothed):
        with pytest.raises(ValueError, match="sigma is 0"):
            made(sigma=0)
        with pytest.raises(ValueError, match="kernel_size is 4; it must be odd"):
            made(kernel_size=4)


@pytest.mark.parametrize(
    "fill", [Grey(), Black(), Colour((0.1, 0.2, 0.3)), Mean(), Noise(), Blur()], ids=lambda fill: type(fill).__name__
)
def test_a_hard_mask_blends_to_the_fill(fill: Fill) -> None:
    images, visible = _case()
    assert torch.allclose(fill.blend(images, visible.float()), fill.fill(images, visible), atol=1e-6)


@pytest.mark.parametrize(
    "fill", [Grey(), Black(), Noise(), Blur(), EdgeSmoothed()], ids=lambda fill: type(fill).__name__
)
def test_a_soft_mask_and_its_complement_add_up_to_image_and_fill(fill: Fill) -> None:
    images, visible = _case()
    mask = torch.rand(visible.shape)
    paint = fill.fill(images, torch.zeros_like(visible))
    assert torch.allclose(fill.blend(images, mask) + fill.blend(images, 1 - mask), images + paint, atol=1e-6)
    assert torch.equal(fill.blend(images, torch.ones_like(mask)), images)
    assert torch.equal(fill.blend(images, torch.zeros_like(mask)), paint.expand_as(images))
    half = torch.full_like(mask, 0.5)
    assert torch.allclose(fill.blend(images, half), (images + paint) / 2)


def test_the_mean_of_a_soft_mask_counts_pixels_as_much_as_they_are_visible() -> None:
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 1, 2, 1)
    mask = torch.tensor([0.5, 1.0]).view(1, 1, 1, 2).repeat(1, 1, 2, 1)
    assert Mean().blend(images, mask)[0, 0, 0].tolist() == pytest.approx([0.5 * 2 / 3, 1.0])


def test_the_kernel_of_rise_is_that_of_its_released_code() -> None:
    """https://github.com/eclique/RISE, evaluation.py: gaussian_filter of one point in a window of 11 × 11 pixels."""
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5)
    image = torch.zeros(1, 3, 21, 21)
    image[..., 10, 10] = 1
    hidden = torch.zeros(1, 1, 21, 21, dtype=torch.bool)
    theirs, ours = create_input_masking("blur_rise"), create_input_masking("blur")
    blurred = theirs.fill(image, hidden)[0, 0]  # type: ignore[attr-defined]
    assert blurred[5:16, 5:16].numpy() == pytest.approx(kernel, abs=1e-7)
    assert blurred[10, 10].item() == pytest.approx(0.00883, abs=1e-5)
    assert ours.fill(image, hidden)[0, 0, 10, 10].item() == pytest.approx(0.01196, abs=1e-5)  # type: ignore[attr-defined]
