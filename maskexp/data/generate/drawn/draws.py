"""Colours, and numbers drawn at random."""

from __future__ import annotations

import numpy as np

__all__ = ["Colour", "between", "hsv", "mix"]

Colour = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two others."""
    return low + float(rng.random()) * (high - low)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour of a hue in [0, 1), saturation and value in [0, 1]."""
    red, green, blue = (
        value * (1.0 - saturation * (1.0 - min(max(abs((hue * 6.0 + shift) % 6.0 - 3.0) - 1.0, 0.0), 1.0)))
        for shift in (0.0, 4.0, 2.0)
    )
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` at share 0 and ``second`` at share 1."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue
