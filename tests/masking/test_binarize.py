"""Gumbel binarisation: hard values, straight-through gradients, noise and precision."""

from __future__ import annotations

import pytest
import torch

from maskexp.masking import GumbelBinarizer, binarize
from maskexp.masking.binarize import given_mask


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_masks_are_exactly_binary(channels: int, noise: bool) -> None:
    mask = binarize(3 * torch.randn(4, channels, 7, 7, requires_grad=True), noise=noise)
    assert mask.shape == (4, 1, 7, 7)
    assert mask.dtype == torch.float32
    assert torch.equal(mask.detach().unique(), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
def test_probability_of_active_is_sigmoid_at_any_temperature(temperature: float) -> None:
    mask = binarize(torch.full((1, 1, 1000, 1000), 0.7), temperature=temperature)
    assert mask.mean().item() == pytest.approx(0.6682, abs=2e-3)


def test_two_channels_enter_as_their_difference() -> None:
    logits = torch.randn(2, 2, 5, 5)
    expected = binarize(logits[:, 1:] - logits[:, :1], noise=False)
    assert torch.equal(binarize(logits, noise=False), expected)


def test_straight_through_gradient_is_that_of_the_relaxation() -> None:
    logits = torch.randn(2, 1, 5, 5, requires_grad=True)
    temperature = 2.0
    binarize(logits, temperature=temperature, noise=False).sum().backward()
    soft = torch.sigmoid(logits.detach() / temperature)
    torch.testing.assert_close(logits.grad, soft * (1 - soft) / temperature)


def test_noise_is_drawn_in_training_only() -> None:
    logits = 0.1 * torch.randn(2, 1, 16, 16)
    binarizer = GumbelBinarizer()
    assert not torch.equal(binarizer(logits), binarizer(logits))
    binarizer.eval()
    assert torch.equal(binarizer(logits), (logits >= 0).float())
    binarizer.eval_noise = True
    assert not torch.equal(binarizer(logits), binarizer(logits))


def test_half_precision_logits_are_drawn_in_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = torch.randn(2, 1, 8, 8, dtype=torch.bfloat16, requires_grad=True)
        mask = binarize(logits)
    assert mask.dtype == torch.float32
    mask.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("form", "channels"), [("sigmoid", 1), ("softmax2", 2)])
def test_form_says_how_many_logits_it_needs(form: str, channels: int) -> None:
    assert GumbelBinarizer(form).logit_channels == channels  # type: ignore[arg-type]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature is 0"):
        GumbelBinarizer(temperature=0)
    with pytest.raises(ValueError, match="temperature is nan"):
        GumbelBinarizer(temperature=float("nan"))
    with pytest.raises(ValueError, match="choose sigmoid or softmax2"):
        GumbelBinarizer("softmax3")  # type: ignore[arg-type]


def test_a_schedule_may_switch_the_noise_of_training_off() -> None:
    binarizer, logits = GumbelBinarizer().train(), torch.randn(4, 1, 8, 8)
    assert not torch.equal(binarizer(logits), binarizer(logits))
    binarizer.train_noise = False
    assert torch.equal(binarizer(logits), (logits >= 0).float())


def test_given_masks_become_float32() -> None:
    given = [torch.ones(2, 1, 3, 4), torch.rand(2, 1, 6, 8) > 0.5]
    assert torch.equal(given_mask(given, 1, 2, (2, 16, 6, 8)), given[1].float())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "0 masks were given, but the network has 2"),
        ([torch.ones(2, 1, 6, 8)] * 3, "3 masks were given, but the network has 2"),
        (
            [torch.ones(2, 1, 6, 8), torch.ones(2, 1, 3, 4)],
            r"mask 2 of 2 has the shape \(2, 1, 3, 4\), but .* \(2, 1, 6",
        ),
        ([torch.ones(2, 1, 6, 8), torch.ones(1, 1, 6, 8)], r"mask 2 of 2 has the shape \(1, 1, 6, 8\)"),
        ([torch.ones(2, 1, 6, 8), torch.ones(2, 6, 8)], r"mask 2 of 2 has the shape \(2, 6, 8\)"),
    ],
)
def test_given_masks_of_another_count_or_grid_are_refused(given: list[torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_mask(given, 1, 2, (2, 16, 6, 8))
