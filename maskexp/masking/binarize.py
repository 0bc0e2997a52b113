"""From mask logits to binary masks: Gumbel noise and a straight-through gradient; and masks given in their place.

Noise, sigmoid and threshold run in fp32 with autocast off: bf16 has too few values for the noise, and
``log(u)`` underflows in fp16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

GumbelForm = Literal["sigmoid", "softmax2"]

_EPSILON = 1e-7
"""Keeps the uniform draw away from 0 and 1, where the logistic noise is infinite."""


def binarize(logits: Tensor, *, temperature: float = 1.0, noise: bool = True) -> Tensor:
    r"""Draw binary masks from logits, with a straight-through gradient.

    Forward, :math:`B = 1[a + n \ge 0]` with logistic noise :math:`n = g_1 - g_0` (the difference of two Gumbel
    draws) or :math:`n = 0`. Backward, the gradient of :math:`\sigma((a + n) / T)`. With noise,
    :math:`P(B = 1) = \sigma(a)` for any temperature.

    Args:
        logits: ``(B, 1, h, w)`` mask logits :math:`a`, or ``(B, 2, h, w)`` with the *active* class second; two
            channels enter as their difference, which is Gumbel-softmax over two classes.
        temperature: :math:`T > 0` of the relaxation that gives the gradient.
        noise: whether to add the noise (training) or to threshold (evaluation).

    Returns:
        ``(B, 1, h, w)`` float32 mask, exactly 0 or 1.

    Source:
        Gumbel-softmax with hard samples: Jang et al., ICLR 2017; the one-logit form: Verelst & Tuytelaars, CVPR 2020
        (released code). AIM only says "Gumbel-softmax"; form and temperature are inferred.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        activation = logits.float()
        if activation.shape[1] == 2:
            activation = activation[:, 1:] - activation[:, :1]
        if noise:
            activation = activation + torch.logit(torch.rand_like(activation), eps=_EPSILON)
        soft = torch.sigmoid(activation / temperature)
        hard = (activation >= 0).float()
        return hard + (soft - soft.detach())


def given_mask(masks: Sequence[Tensor], number: int, count: int, shape: Sequence[int]) -> Tensor:
    """Return one of the masks that take the place of a network's own.

    Args:
        masks: all of them.
        number: which one, from 0.
        count: how many masks the network has.
        shape: ``(B, C, h, w)`` of the features that the mask acts on.

    Returns:
        ``(B, 1, h, w)`` float32 mask.

    Raises:
        ValueError: if there are more or fewer masks, or this one lies on another grid.
    """
    if len(masks) != count:
        raise ValueError(f"{len(masks)} masks were given, but the network has {count}; give one in the place of each")
    own = (shape[0], 1, *shape[2:])
    if masks[number].shape != own:
        raise ValueError(
            f"mask {number + 1} of {count} has the shape {tuple(masks[number].shape)}, but the network's own is {own}"
            "; give one value for each image and position"
        )
    return masks[number].float()


class GumbelBinarizer(nn.Module):
    """:func:`binarize` as a module: noise in training, a plain threshold in evaluation.

    Args:
        form: ``sigmoid`` (one logit a position) or ``softmax2`` (two). Inferred.
        temperature: of the relaxation, constant. 1.0 is the value of AIM's first author's earlier released code.
        eval_noise: draw in evaluation too, as that earlier code does. The default gives the same mask each time.

    Attributes:
        train_noise: draw in training; a schedule may switch it off.

    Raises:
        ValueError: if the temperature is not positive and finite or the form is unknown.
    """

    def __init__(self, form: GumbelForm = "sigmoid", temperature: float = 1.0, eval_noise: bool = False) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ValueError(f"the Gumbel temperature is {temperature}; it must be greater than 0 and finite")
        if form not in ("sigmoid", "softmax2"):
            raise ValueError(f"unknown Gumbel form {form!r}; choose sigmoid or softmax2")
        self.form = form
        self.temperature = temperature
        self.eval_noise = eval_noise
        self.train_noise = True

    @property
    def logit_channels(self) -> int:
        """Channels that an estimator in front of this module must give."""
        return 2 if self.form == "softmax2" else 1

    def forward(self, logits: Tensor) -> Tensor:
        """Return masks ``(B, 1, h, w)`` in {0, 1} from logits ``(B, logit_channels, h, w)``."""
        noise = self.train_noise if self.training else self.eval_noise
        return binarize(logits, temperature=self.temperature, noise=noise)

    def extra_repr(self) -> str:
        """Show the settings in ``print(model)``."""
        return f"form={self.form!r}, temperature={self.temperature}, eval_noise={self.eval_noise}"
