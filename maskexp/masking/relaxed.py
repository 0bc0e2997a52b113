r"""Bernoulli masks that are drawn, relaxed to (0, 1), and differentiated: the Concrete distribution and REBAR.

All in float32 at least, with autocast off: the noise needs more values than bf16 has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RebarDraw", "rebar_draw", "rebar_surrogate", "relaxed_bernoulli"]

_EPSILON = 1e-6
"""Keeps uniform draws away from 0 and 1, where the logistic noise is infinite."""


def relaxed_bernoulli(logits: Tensor, temperature: float) -> Tensor:
    r"""Draw :math:`\sigma((\theta + \mathrm{logit}\, u) / T)` with uniform :math:`u`, in (0, 1).

    Args:
        logits: :math:`\theta` of any shape, the batch first.
        temperature: :math:`T > 0`; towards 0 the draw is a Bernoulli's, and its gradient explodes.

    Source:
        Maddison et al., "The Concrete Distribution", ICLR 2017; Jang et al., ICLR 2017.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        return torch.sigmoid((_wide(logits) + _logistic(torch.rand_like(_wide(logits)))) / temperature)


@dataclass(frozen=True)
class RebarDraw:
    """The three masks of one draw of REBAR, each of the shape of the logits.

    Attributes:
        hard: the draw itself, 0 or 1, without a gradient.
        relaxed: the relaxation of what was drawn.
        conditional: a second relaxation, drawn anew among those that would have given the same ``hard``.
    """

    hard: Tensor
    relaxed: Tensor
    conditional: Tensor


def rebar_draw(logits: Tensor, temperature: float) -> RebarDraw:
    r"""Draw masks from independent Bernoullis with these logits, and what REBAR compares them with.

    With uniform :math:`u, v`: :math:`z = \theta + \mathrm{logit}\, u`, :math:`s = 1[z > 0]`, and
    :math:`\tilde z = \theta + \mathrm{logit}\, v'`, where :math:`v' = v\,\sigma(\theta) + \sigma(-\theta)` if
    :math:`s = 1` and :math:`v' = v\,\sigma(-\theta)` otherwise. The relaxations are :math:`\sigma(z / \tau)` and
    :math:`\sigma(\tilde z / \tau)`.

    Args:
        logits: :math:`\theta`, any shape, the batch first.
        temperature: :math:`\tau > 0` of the relaxations (REAL-X, released code: 0.1).

    Source:
        Tucker et al., "REBAR: Low-variance, unbiased gradient estimates for discrete latent variable models",
        NeurIPS 2017, appendix, for :math:`\tilde z`.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        theta = _wide(logits)
        z = theta + _logistic(torch.rand_like(theta))
        hard = (z > 0).to(theta.dtype).detach()
        visible, hidden = torch.sigmoid(theta), torch.sigmoid(-theta)
        v = torch.rand_like(theta)
        among = torch.where(hard > 0.5, v * visible + hidden, v * hidden)
        again = theta + _logistic(among)
        return RebarDraw(hard, torch.sigmoid(z / temperature), torch.sigmoid(again / temperature))


def rebar_surrogate(logits: Tensor, hard: Tensor, value: Tensor, relaxed: Tensor, conditional: Tensor) -> Tensor:
    r"""Return what has REBAR's gradient of the expected value, one number an image.

    :math:`[f(s) - f(\tilde c)]\, \log q(s) + f(c) - f(\tilde c)` with the bracket held fixed: the score function of a
    difference that is small, and the reparametrised gradient of what was subtracted. Unbiased for any temperature; its
    own value means nothing.

    Args:
        logits: of the Bernoullis, ``(B, …)``.
        hard: the draw :math:`s`, of the same shape.
        value: ``(B,)``, :math:`f` at the draw.
        relaxed: ``(B,)``, :math:`f` at the relaxation.
        conditional: ``(B,)``, :math:`f` at the second relaxation.

    Returns:
        ``(B,)``.
    """
    theta = _wide(logits)
    log_q = (hard * F.logsigmoid(theta) + (1 - hard) * F.logsigmoid(-theta)).flatten(1).sum(dim=1)
    return (value - conditional).detach() * log_q + relaxed - conditional


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _logistic(uniform: Tensor) -> Tensor:
    return torch.logit(uniform, eps=_EPSILON)
