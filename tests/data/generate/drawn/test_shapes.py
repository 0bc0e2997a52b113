from __future__ import annotations

import numpy as np
import pytest

from maskexp.data.generate.drawn.shapes import Capsule, Ellipse, Placement, Polygon, Shape, turn

SHAPES: list[Shape] = [
    Ellipse((0.1, -0.2), 0.4, 0.15, turn(0.3)),
    Capsule((-0.3, 0.1), (0.4, 0.2), 0.1, 0.02),
    Polygon(((-0.3, -0.2), (0.4, -0.1), (0.1, 0.35))),
]
GRID = np.linspace(-1.0, 1.0, 401)
X, Y = GRID[None, :], GRID[:, None]


def outline(shape: Shape) -> np.ndarray:
    """Points at which the sign of the distance changes, (2, N)."""
    inside = shape.distance(X, Y) < 0
    rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
    across = np.stack([GRID[columns] + 0.0025, GRID[rows]])
    rows, columns = np.nonzero(inside[1:] != inside[:-1])
    return np.concatenate([across, np.stack([GRID[columns], GRID[rows] + 0.0025])], axis=1)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_distance_near_the_outline_is_the_distance_to_it(shape: Shape) -> None:
    edge = outline(shape)
    points = np.random.default_rng(0).uniform(-0.5, 0.6, (2, 4000))
    nearest = np.sqrt(((points[:, :, None] - edge[:, None, :]) ** 2).sum(0)).min(1)
    close = nearest < 0.03

    claimed = np.abs(shape.distance(points[0], points[1]))

    assert close.sum() > 100
    np.testing.assert_allclose(claimed[close], nearest[close], atol=0.005)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_bounds_hold_the_shape(shape: Shape) -> None:
    x, y = outline(shape)
    x0, y0, x1, y1 = shape.bounds

    assert x0 - 0.005 <= x.min()
    assert x.max() <= x1 + 0.005
    assert y0 - 0.005 <= y.min()
    assert y.max() <= y1 + 0.005


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@pytest.mark.parametrize("facing", [1.0, -1.0])
def test_placed_shape_is_the_shape_elsewhere(shape: Shape, facing: float) -> None:
    placement = Placement((0.3, 0.1), 0.5, facing, turn(-0.2))
    points = np.random.default_rng(0).uniform(-1, 1, (2, 500))
    moved = np.array([placement.point((u, v)) for u, v in points.T]).T

    expected = 0.5 * shape.distance(points[0], points[1])

    np.testing.assert_allclose(shape.placed(placement).distance(moved[0], moved[1]), expected, atol=1e-12)


def test_polygon_does_not_depend_on_the_sense_of_its_corners() -> None:
    corners = ((0.0, 0.0), (0.5, 0.1), (0.2, 0.6))

    np.testing.assert_allclose(Polygon(corners).distance(X, Y), Polygon(corners[::-1]).distance(X, Y), atol=1e-10)


def test_turn_is_a_rotation() -> None:
    for t in (-0.7, 0.0, 0.2):
        np.testing.assert_allclose(turn(t), (np.cos(2 * np.arctan(t)), np.sin(2 * np.arctan(t))), atol=1e-15)
