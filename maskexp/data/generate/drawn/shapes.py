"""Shapes with a signed distance.

Coordinates are those of the image: x to the right and y down, both in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Capsule", "Ellipse", "Floats", "Placement", "Polygon", "Shape", "turn"]

Floats = NDArray[np.float64]
Point = tuple[float, float]
Bounds = tuple[float, float, float, float]


def turn(t: float) -> Point:
    """Return (cosine, sine) of the angle whose half has the tangent ``t``: a rotation without sines."""
    return (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)


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
    """A convex polygon of at least three corners, the first three not in line."""

    corners: tuple[Point, ...]

    @property
    def bounds(self) -> Bounds:
        """The smallest box around the corners."""
        xs, ys = [x for x, _ in self.corners], [y for _, y in self.corners]
        return min(xs), min(ys), max(xs), max(ys)

    def distance(self, x: Floats, y: Floats) -> Floats:
        """Distance to the nearest edge, so that an outline is round at sharp corners."""
        following = (*self.corners[1:], self.corners[0])
        (ax, ay), (bx, by), (cx, cy) = self.corners[:3]
        side = 1.0 if (bx - ax) * (cy - ay) > (by - ay) * (cx - ax) else -1.0
        shape = np.broadcast_shapes(x.shape, y.shape)
        beyond, nearest = np.full(shape, -np.inf), np.full(shape, np.inf)
        for start, end in zip(self.corners, following, strict=True):
            dx, dy = end[0] - start[0], end[1] - start[1]
            px, py = x - start[0], y - start[1]
            length = float(np.sqrt(dx * dx + dy * dy))
            beyond = np.maximum(beyond, (px * dy - py * dx) * (side / length))
            nearest = np.minimum(nearest, Capsule(start, end, 0.0, 0.0).distance(x, y))
        return np.where(beyond > 0.0, nearest, beyond)

    def placed(self, placement: Placement) -> Polygon:
        """Return the polygon elsewhere."""
        return Polygon(tuple(placement.point(corner) for corner in self.corners))
