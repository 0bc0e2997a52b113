"""Small attribution maps and foregrounds with known scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def two_ramps() -> tuple[Tensor, Tensor]:
    """Two 16×16 maps in float64, each half noise, half a ramp towards its foreground, a disc."""
    i, j = np.mgrid[:16, :16]
    noise = [((17 * i + 31 * j) % 101) / 100, ((7 * i + 13 * j + 5) % 97) / 96]
    distance = [np.hypot(i - 4, j - 4), np.hypot(i - 10, j - 8)]
    maps = [0.5 * n + 0.5 * np.clip(1 - d / 16, 0, 1) for n, d in zip(noise, distance, strict=True)]
    foregrounds = [(i - 4) ** 2 + (j - 4) ** 2 <= 9, (i - 10) ** 2 + (j - 8) ** 2 <= 25]
    return torch.from_numpy(np.stack(maps)), torch.from_numpy(np.stack(foregrounds))


def drawn_maps() -> tuple[Tensor, Tensor]:
    """Eight 64×64 maps in float64, 30 % foreground with higher scores."""
    rng = np.random.default_rng(0)
    foreground = rng.random((8, 64, 64)) < 0.3
    maps = np.clip(rng.normal(0.35 + 0.25 * foreground, 0.2), 0, 1)
    return torch.from_numpy(maps), torch.from_numpy(foreground)


def row(*values: float) -> Tensor:
    """One map of one row, ``(1, 1, W)`` in float64."""
    return torch.tensor(values, dtype=torch.float64)[None, None]
