"""Class entropy: how evenly predictions are spread over the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import to_real

__all__ = ["class_entropy"]

_EPSILON = 1e-7
"""Added to a share before its logarithm is taken; the value of the released code."""


def class_entropy(counts: Tensor) -> Tensor:
    r"""Compute the entropy of a histogram of predicted classes, in nats.

    .. math:: H = -\sum_c p_c \ln(p_c + 10^{-7})

    A network that takes hidden regions for content predicts few classes when much is hidden, and its entropy falls. The
    range is [0, ln K] up to the constant: 0 if all predictions are one class, ln K if all classes are equally frequent.

    Args:
        counts: ``(..., K)`` numbers of predictions.

    Returns:
        ``(...)``, NaN where there is no prediction.

    Source:
        Jain et al., "Missingness Bias in Model Debugging", ICLR 2022, as computed by Balasubramanian & Feizi, ICCV 2023
        (released code).

    Example:
        >>> class_entropy(torch.tensor([[2, 2], [4, 0]]))
        tensor([ 6.9315e-01, -1.0000e-07], dtype=torch.float64)
    """
    real = to_real(counts)
    share = real / real.sum(dim=-1, keepdim=True)
    return -(share * torch.log(share + _EPSILON)).sum(dim=-1)
