"""Shapes with a signed distance, and a canvas that paints them with smooth edges.

Coordinates are those of the picture: x to the right and y down, both in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "Capsule", "Colour", "Ellipse", "Floats", "Placement", "Polygon", "Shape", "mix", "smooth_noise"]

Floats = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[float, float, float]
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """A similarity: mirror, turn, scale, then shift.

    Attributes:
        origin: where the point (0, 0) goes.
        scale: length of the unit.
        facing: 1, or -1 to mirror left and right.
        turn: (cosine, sine) of the rotation.
    """

    origin: Point = (0.0, 0.0)
    scale: float = 1.0
    facing: float = 1.0
    turn: Point = (1.0, 0.0)

    def direction(self, vector: Point) -> Point:
        """Return a mirrored and turned vector."""
        (u, v), (cosine, sine) = vector, self.turn
        u = u * self.facing
        return u * cosine - v * sine, u * sine + v * cosine

    def point(self, point: Point) -> Point:
        """Return the placed point."""
        u, v = self.direction(point)
        return self.origin[0] + self.scale * u, self.origin[1] + self.scale * v


class Shape(Protocol):
    """A region of the plane."""

    @property
    def bounds(self) -> Bounds:
        """A box (x0, y0, x1, y1) around the shape."""
        ...

    def distance(self, x: Floats, y: Floats) -> Floats:
        """Return about how far points lie outside (positive) or inside (negative) the shape."""
        ...

    def placed(self, placement: Placement) -> Shape:
        """Return the shape elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse with half-axes ``a`` along ``axis`` (a unit vector) and ``b`` across."""

    centre: Point
    a: float
    b: float
    axis: Point = (1.0, 0.0)

    @property
    def bounds(self) -> Bounds:
        """A box around the ellipse."""
        reach = max(self.a, self.b)
        return self.centre[0] - reach, self.centre[1] - reach, self.centre[0] + reach, self.centre[1] + reach

    def distance(self, x: Floats, y: Floats) -> Floats:
        """First-order distance: exact on the outline, where smooth edges need it."""
        dx, dy = x - self.centre[0], y - self.centre[1]
        u = (dx * self.axis[0] + dy * self.axis[1]) / self.a
        v = (dy * self.axis[0] - dx * self.axis[1]) / self.b
        radius = np.sqrt(u * u + v * v)
        slope = np.sqrt(u * u / (self.a * self.a) + v * v / (self.b * self.b)) + 1e-9
        return radius * (radius - 1.0) / slope

    def placed(self, placement: Placement) -> Ellipse:
        """Return the ellipse elsewhere."""
        scale = placement.scale
        return Ellipse(placement.point(self.centre), self.a * scale, self.b * scale, placement.direction(self.axis))


@dataclass(frozen=True, slots=True)
class Capsule:
    """A line from ``start`` to ``end`` whose half-width goes from ``thick`` to ``thin``."""

    start: Point
    end: Point
    thick: float
    thin: float

    @property
    def bounds(self) -> Bounds:
        """A box around the line."""
        (x0, y0), (x1, y1), reach = self.start, self.end, max(self.thick, self.thin)
        return min(x0, x1) - reach, min(y0, y1) - reach, max(x0, x1) + reach, max(y0, y1) + reach

    def distance(self, x: Floats, y: Floats) -> Floats:
        """Distance to the nearest point of the line, less the half-width there."""
        dx, dy = self.end[0] - self.start[0], self.end[1] - self.start[1]
        px, py = x - self.start[0], y - self.start[1]
        along = np.minimum(np.maximum((px * dx + py * dy) / (dx * dx + dy * dy + 1e-12), 0.0), 1.0)
        qx, qy = px - along * dx, py - along * dy
        return np.sqrt(qx * qx + qy * qy) - (self.thick + along * (self.thin - self.thick))

    def placed(self, placement: Placement) -> Capsule:
        """Return the line elsewhere."""
        start, end, scale = placement.point(self.start), placement.point(self.end), placement.scale
        return Capsule(start, end, self.thick * scale, self.thin * scale)


@dataclass(frozen=True, slots=True)
class Polygon:
    """A convex polygon."""

    corners: tuple[Point, ...]

    @property
    def bounds(self) -> Bounds:
        """The smallest box around the corners."""
        xs, ys = [x for x, _ in self.corners], [y for _, y in self.corners]
        return min(xs), min(ys), max(xs), max(ys)

    def distance(self, x: Floats, y: Floats) -> Floats:
        """Largest distance to the lines through the edges."""
        following = (*self.corners[1:], self.corners[0])
        edges = [(p, q) for p, q in zip(self.corners, following, strict=True)]
        doubled_area = sum(p[0] * q[1] - q[0] * p[1] for p, q in edges)
        side = 1.0 if doubled_area > 0 else -1.0
        farthest: Floats | None = None
        for (px, py), (qx, qy) in edges:
            dx, dy = qx - px, qy - py
            length = float(np.sqrt(dx * dx + dy * dy)) * side
            outside = (x - px) * (dy / length) - (y - py) * (dx / length)
            farthest = outside if farthest is None else np.maximum(farthest, outside)
        if farthest is None:
            raise ValueError("a polygon needs corners")
        return farthest

    def placed(self, placement: Placement) -> Polygon:
        """Return the polygon elsewhere."""
        return Polygon(tuple(placement.point(corner) for corner in self.corners))


class Canvas:
    """A square picture and the mask of its foreground.

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
        """Paint the whole picture with a colour, or an array of colours, as far as ``opacity`` goes."""
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


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` at share 0 and ``second`` at share 1."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


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
    """Return the pixels between two coordinates, with a margin in pixels, inside the picture."""
    start = min(max(int(low * size - margin), 0), size)
    stop = min(max(int(high * size + margin) + 2, start), size)
    return slice(start, stop)


def _as_colours(colour: Colour | Floats) -> Floats:
    """Return a colour as ``(3, 1, 1)``, arrays of colours as they are."""
    return np.array(colour).reshape(3, 1, 1) if isinstance(colour, tuple) else colour
