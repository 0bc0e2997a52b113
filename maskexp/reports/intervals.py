"""How sure a number is, from what a run recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["mean_interval", "wilson"]

Z = 1.959963984540054
"""Of 95 %."""


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``count`` images.

    Example:
        >>> low, high = wilson(0.5, 100)
        >>> round(low, 3), round(high, 3)
        (0.404, 0.596)
    """
    if count < 1:
        raise ValueError("a share of no images has no interval")
    centre = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_interval(mean: float, values: Sequence[float], count: int) -> tuple[float, float] | None:
    """Return the normal 95 % interval of a mean over ``count`` images that spread as ``values`` do; None for too few.

    Example:
        >>> mean_interval(0.5, [0.0, 1.0], 1), mean_interval(0.5, [0.25, 0.75], 100)
        (None, (0.43070..., 0.56929...))
    """
    if len(values) < 2 or count < 2:
        return None
    middle = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    half = Z * deviation / math.sqrt(count)
    return mean - half, mean + half
