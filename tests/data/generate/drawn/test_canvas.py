from __future__ import annotations

import colorsys

import numpy as np
import pytest

from maskexp.data.generate.drawn.canvas import Canvas, smooth_noise
from maskexp.data.generate.drawn.draws import between, hsv, mix
from maskexp.data.generate.drawn.shapes import Capsule, Ellipse, Polygon

WHITE = (1.0, 1.0, 1.0)


@pytest.mark.parametrize("size", [32, 65])
def test_disc_covers_its_area(size: int) -> None:
    canvas = Canvas(size)

    canvas.draw(Ellipse((0.47, 0.52), 0.3, 0.3), WHITE)

    assert canvas.rgb[0].mean() == pytest.approx(np.pi * 0.09, rel=0.003)
    assert canvas.mask.max() == 0  # scenery is no foreground


@pytest.mark.parametrize("blur", [0.0, 3.0])
def test_painting_in_a_window_is_painting_everywhere(blur: float) -> None:
    canvas, whole = Canvas(40), Canvas(40)
    whole._window = lambda *_: (slice(None), slice(None))  # type: ignore[method-assign]

    for shape in (Capsule((0.2, 0.3), (0.7, 0.9), 0.05, 0.01), Polygon(((-0.1, 0.2), (0.3, -0.2), (0.5, 0.5)))):
        for target in (canvas, whole):
            target.draw(shape, (0.2, 0.5, 0.9), 0.7, blur)

    assert np.array_equal(canvas.rgb, whole.rgb)


def test_foreground_is_the_union_with_its_outline() -> None:
    canvas = Canvas(100)
    discs = [Ellipse((x, 0.5), 0.15, 0.15) for x in (0.4, 0.6)]

    canvas.draw_foreground([(disc, WHITE) for disc in discs], (1.0, 0.0, 0.0), 0.03)

    x, y = canvas.x, canvas.y
    union = np.minimum(*(np.hypot(x - cx, y - 0.5) for cx in (0.4, 0.6))) - 0.18
    assert (canvas.mask[union < -0.01] == 1).all()
    assert (canvas.mask[union > 0.01] == 0).all()
    assert canvas.rgb[:, 50, 23].tolist() == [1.0, 0.0, 0.0]  # on the outline
    assert canvas.rgb[:, 50, 40].tolist() == [1.0, 1.0, 1.0]


def test_bytes_are_rounded_and_clipped() -> None:
    canvas = Canvas(2)
    canvas.rgb[:] = np.array([[[-0.1, 0.5], [1.0, 1.2]]])
    canvas.mask[0, 1] = 0.499 / 255

    assert canvas.to_bytes()[0].tolist() == [[0, 128], [255, 255]]
    assert canvas.to_bytes()[3].tolist() == [[0, 0], [0, 0]]


def test_noise_meets_its_grid_and_stays_between() -> None:
    grid = np.random.default_rng(3).random((5, 6))
    x, y = np.arange(5) / 4, np.arange(4) / 3

    noise = smooth_noise(np.random.default_rng(3), x[None, :] + 0 * y[:, None], y[:, None] + 0 * x[None, :], 4, 3)
    fine = smooth_noise(np.random.default_rng(3), np.random.default_rng(0).random(999), np.full(999, 0.4), 4, 3)

    np.testing.assert_allclose(noise, grid[:4, :5], atol=1e-12)
    assert grid.min() <= fine.min()
    assert fine.max() <= grid.max()


def test_colours() -> None:
    for hue in (0.0, 0.1, 0.37, 0.62, 0.99):
        np.testing.assert_allclose(hsv(hue, 0.6, 0.8), colorsys.hsv_to_rgb(hue, 0.6, 0.8), atol=1e-12)
    assert mix((0.0, 0.5, 1.0), (1.0, 0.5, 0.0), 0.25) == (0.25, 0.5, 0.75)
    draws = [between(np.random.default_rng(seed), 2.0, 5.0) for seed in range(50)]
    assert min(draws) >= 2
    assert max(draws) < 5
