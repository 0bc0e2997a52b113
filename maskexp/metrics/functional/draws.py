"""Random numbers that belong to an image, whatever batch, rank or device it is on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["uniform_maps"]


def uniform_maps(index: Tensor, size: tuple[int, int], *seed: int) -> Tensor:
    """Draw one map per image, every pixel uniform in [0, 1), from the seed and the image's index alone.

    Args:
        index: ``(B,)`` int64, the row of each image in its data set.
        size: (height, width) of the maps.
        *seed: one or more numbers; other seeds give independent maps.

    Returns:
        ``(B, 1, H, W)`` float32, on the device of the index.

    Example:
        >>> first, second = uniform_maps(torch.tensor([7, 2]), (2, 2), 0)
        >>> bool((uniform_maps(torch.tensor([2]), (2, 2), 0)[0] == second).all()), bool((first == second).any())
        (True, False)
    """
    drawn = [np.random.default_rng([*seed, row]).random((1, *size), dtype=np.float32) for row in index.tolist()]
    return torch.from_numpy(np.stack(drawn)).to(index.device) if drawn else torch.empty((0, 1, *size)).to(index.device)
