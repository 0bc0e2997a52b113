"""An image with what a map leaves out of it darkened. Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["visible_part"]

Map = NDArray[np.floating[Any]]


def visible_part(image: Map, attribution: Map, dimmed: float = 0.15) -> Map:
    """Return the image, darkened to ``dimmed`` where the attribution is 0.

    Args:
        image: ``(H, W, 3)`` in [0, 1].
        attribution: ``(H, W)`` in [0, 1].
        dimmed: brightness that is left where nothing is attributed.
    """
    return image * (dimmed + (1 - dimmed) * attribution.clip(0, 1)[..., None])
