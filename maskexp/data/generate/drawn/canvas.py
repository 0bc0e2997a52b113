"""A canvas that paints shapes with smooth edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskexp.data.generate.drawn.draws import Colour
from maskexp.data.generate.drawn.shapes import Bounds, Floats, Shape

__all__ = ["Canvas", "smooth_noise"]


class Canvas:
    """A square image and the mask of its foreground.

    Args:
        size: side in pixels.

    Attributes:
        rgb: ``(3, size, size)`` float64 in [0, 1].
        mask: ``(size, size)`` float64 in [0, 1], how much of each pixel the foreground covers.
    """

    def __init__(self, size: int) -> None:
        centres = (np.arange(size, dtype=np.float64) + 0.5) / size
        self.size = size
        self.x, self.y = centres[None, :], centres[:, None]
        self.rgb = np.zeros((3, size, size))
        self.mask = np.zeros((size, size))

    def fill(self, colour: Colour | Floats, opacity: Floats | float = 1.0) -> None:
        """Paint the whole image with a colour, or an array of colours, as far as ``opacity`` goes."""
        self.rgb += opacity * (_as_colours(colour) - self.rgb)

    def draw(self, shape: Shape, colour: Colour, opacity: float = 1.0, blur: float = 0.0) -> None:
        """Paint one shape; ``blur`` widens its edge to that many pixels."""
        rows, columns = window = self._window(shape.bounds, 1.0 + blur)
        coverage = self._coverage(shape.distance(self.x[:, columns], self.y[rows, :]), 1.0 + blur)
        inside = self.rgb[:, *window]
        inside += opacity * coverage * (_as_colours(colour) - inside)

    def draw_foreground(self, parts: Sequence[tuple[Shape, Colour]], outline: Colour, width: float) -> None:
        """Paint an object of several parts with an outline of ``width`` around their union, and add it to the mask."""
        union = np.full((self.size, self.size), 1.0)
        for shape, _ in parts:
            rows, columns = window = self._window(shape.bounds, 2.0 + width * self.size)
            distance = shape.distance(self.x[:, columns], self.y[rows, :])
            union[window] = np.minimum(union[window], distance)
        coverage = self._coverage(union - width, 1.0)
        self.fill(outline, coverage)
        self.mask = np.maximum(self.mask, coverage)
        for shape, colour in parts:
            self.draw(shape, colour)

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return uint8 ``(4, size, size)``: RGB and mask."""
        planes = np.concatenate([self.rgb, self.mask[None]])
        levels: NDArray[np.uint8] = (np.minimum(np.maximum(planes, 0.0), 1.0) * 255.0 + 0.5).astype(np.uint8)
        return levels

    def _window(self, bounds: Bounds, margin: float) -> tuple[slice, slice]:
        """Return the rows and columns of the pixels that a box with a margin (in pixels) can touch."""
        x0, y0, x1, y1 = bounds
        return _span(y0, y1, margin, self.size), _span(x0, x1, margin, self.size)

    def _coverage(self, distance: Floats, edge: float) -> Floats:
        """Return how much of each pixel lies inside, for an edge that is ``edge`` pixels wide."""
        return np.minimum(np.maximum(0.5 - distance * (self.size / edge), 0.0), 1.0)


def smooth_noise(rng: np.random.Generator, x: Floats, y: Floats, columns: int, rows: int) -> Floats:
    """Interpolate a random grid of ``rows`` × ``columns`` cells at points in [0, 1]²; values in [0, 1]."""
    grid = rng.random((rows + 2, columns + 2))
    u, v = np.minimum(np.maximum(x, 0.0), 1.0) * columns, np.minimum(np.maximum(y, 0.0), 1.0) * rows
    i, j = v.astype(np.int64), u.astype(np.int64)
    s, t = v - i, u - j
    s, t = s * s * (3.0 - 2.0 * s), t * t * (3.0 - 2.0 * t)
    upper = grid[i, j] + t * (grid[i, j + 1] - grid[i, j])
    lower = grid[i + 1, j] + t * (grid[i + 1, j + 1] - grid[i + 1, j])
    return upper + s * (lower - upper)


def _span(low: float, high: float, margin: float, size: int) -> slice:
    """Return the pixels between two coordinates, with a margin in pixels, inside the image."""
    start = min(max(int(low * size - margin), 0), size)
    stop = min(max(int(high * size + margin) + 2, start), size)
    return slice(start, stop)


def _as_colours(colour: Colour | Floats) -> Floats:
    """Return a colour as ``(3, 1, 1)``, arrays of colours as they are."""
    return np.array(colour).reshape(3, 1, 1) if isinstance(colour, tuple) else colour
