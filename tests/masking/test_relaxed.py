"""REBAR is unbiased, the Concrete relaxation alone is not."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.relaxed import rebar_draw, rebar_surrogate, relaxed_bernoulli

THETA = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
A = torch.tensor([1.0, -0.5, 0.8], dtype=torch.float64)
B = torch.tensor([[0.0, 0.4, -0.2], [0.0, 0.0, 0.6], [0.0, 0.0, 0.0]], dtype=torch.float64)
PENALTY, DRAWS = 0.2, 300_000
EXACT = torch.tensor([0.062846, -0.012334, 0.049004], dtype=torch.float64)


def log_p(masks: Tensor) -> Tensor:
    return -F.softplus(-(masks @ A + ((masks @ B) * masks).sum(dim=-1) - 0.3))


def gradient(theta: Tensor, value: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value - PENALTY * theta.sigmoid().mean(), theta)
    return found


def test_the_exact_gradient_is_that_of_the_eight_masks() -> None:
    theta = THETA.clone().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for bits in itertools.product((0.0, 1.0), repeat=3):
        mask = torch.tensor(bits, dtype=torch.float64)
        chance = torch.where(mask > 0, theta.sigmoid(), (-theta).sigmoid()).prod()
        expected = expected + chance * log_p(mask)
    assert torch.allclose(gradient(theta, expected), EXACT, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_rebar_has_the_exact_gradient_on_average_at_any_temperature(temperature: float) -> None:
    torch.manual_seed(0)
    theta = THETA.clone().requires_grad_()
    logits = theta.expand(DRAWS, 3)
    draw = rebar_draw(logits, temperature)
    surrogate = rebar_surrogate(logits, draw.hard, *(log_p(m) for m in (draw.hard, draw.relaxed, draw.conditional)))
    assert torch.allclose(gradient(theta, surrogate.mean()), EXACT, atol=1.5e-3)


def test_the_relaxation_alone_is_biased() -> None:
    torch.manual_seed(0)
    theta = THETA.clone().requires_grad_()
    found = gradient(theta, log_p(relaxed_bernoulli(theta.expand(DRAWS, 3), 1.0)).mean())
    assert (found - EXACT).abs().max() > 0.015


def test_both_relaxations_agree_with_what_was_drawn() -> None:
    torch.manual_seed(0)
    draw = rebar_draw(THETA.expand(DRAWS, 3), 0.1)
    for relaxed in (draw.relaxed, draw.conditional):
        assert torch.equal(relaxed > 0.5, draw.hard > 0.5)
        assert torch.allclose(relaxed.mean(dim=0), draw.relaxed.mean(dim=0), atol=5e-3)
    assert torch.allclose(draw.hard.mean(dim=0), THETA.sigmoid(), atol=5e-3)
    assert not torch.equal(draw.relaxed, draw.conditional)


def test_a_share_of_relaxed_values_is_in_between() -> None:
    torch.manual_seed(0)
    drawn = relaxed_bernoulli(torch.zeros(200_000), 0.1)
    assert ((drawn > 0.05) & (drawn < 0.95)).float().mean().item() == pytest.approx(0.146, abs=0.005)
