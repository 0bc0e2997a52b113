"""Sums of real numbers that come out the same to the last bit, however the data is split.

Adding floating point numbers depends on the order, so that batches and ranks would show in the last digits. Metrics
of this package round each image's value once to a multiple of 2**-36 (1.5e-11) and add integers from then on. Integers
also live on devices without float64. A sum of values in [0, 1] has room for 134 million images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import real_dtype, to_real

__all__ = ["SCALE", "from_fixed_point", "mean_of_fixed_point", "to_fixed_point"]

SCALE = 2**36


def to_fixed_point(values: Tensor) -> Tensor:
    """Round finite values below 2**27 in magnitude to int64 multiples of 2**-36.

    Example:
        >>> to_fixed_point(torch.tensor([0.0, 0.5]))
        tensor([          0, 34359738368])
    """
    return (to_real(values) * SCALE).round().to(torch.int64)


def from_fixed_point(total: Tensor) -> Tensor:
    """Return the real numbers that int64 multiples of 2**-36 stand for.

    Example:
        >>> from_fixed_point(to_fixed_point(torch.tensor([0.25, 3.0])))
        tensor([0.2500, 3.0000], dtype=torch.float64)
    """
    return total.to(real_dtype(total.device)) / SCALE


def mean_of_fixed_point(total: Tensor, count: Tensor) -> Tensor:
    """Return ``total / count`` as a real number, NaN where the count is zero.

    Example:
        >>> mean_of_fixed_point(to_fixed_point(torch.tensor([0.25, 0.75])).sum(), torch.tensor(2))
        tensor(0.5000, dtype=torch.float64)
    """
    return from_fixed_point(total) / count
