"""Scenes on land and on water, with a sky, a horizon, textures, and things that stand about in both."""

from __future__ import annotations

import numpy as np

from maskexp.data.generate.drawn.canvas import Canvas, smooth_noise
from maskexp.data.generate.drawn.draws import Colour, between, hsv, mix
from maskexp.data.generate.drawn.shapes import Capsule, Ellipse, Floats, Polygon

__all__ = ["draw_scene"]

SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((0.36, 0.60, 0.90), (0.80, 0.90, 0.98)),  # clear
    ((0.55, 0.66, 0.78), (0.86, 0.88, 0.90)),  # overcast
    ((0.42, 0.40, 0.66), (0.98, 0.72, 0.56)),  # dusk
    ((0.62, 0.78, 0.86), (0.98, 0.93, 0.80)),  # morning
)
# Half of the colours of land could be water and the other way round, so that a scene shows in its texture.
MEADOWS: tuple[tuple[Colour, Colour], ...] = (
    ((0.56, 0.72, 0.34), (0.27, 0.47, 0.16)),  # grass, far and near
    ((0.84, 0.76, 0.46), (0.66, 0.52, 0.24)),  # dry grass
    ((0.52, 0.46, 0.32), (0.36, 0.25, 0.15)),  # forest floor
    ((0.86, 0.90, 0.95), (0.68, 0.75, 0.84)),  # snow
    ((0.55, 0.58, 0.76), (0.33, 0.36, 0.56)),  # lavender
    ((0.64, 0.67, 0.68), (0.40, 0.43, 0.46)),  # gravel
)
WATERS: tuple[tuple[Colour, Colour], ...] = (
    ((0.46, 0.68, 0.86), (0.12, 0.34, 0.62)),  # blue
    ((0.62, 0.70, 0.76), (0.28, 0.40, 0.50)),  # under clouds
    ((0.40, 0.50, 0.68), (0.09, 0.16, 0.34)),  # deep
    ((0.66, 0.60, 0.44), (0.44, 0.36, 0.22)),  # muddy
    ((0.54, 0.66, 0.44), (0.22, 0.38, 0.20)),  # full of algae
    ((0.80, 0.72, 0.50), (0.56, 0.46, 0.28)),  # in the evening sun
)
WHITE: Colour = (1.0, 1.0, 1.0)


def draw_scene(canvas: Canvas, place: int, rng: np.random.Generator) -> None:
    """Draw a scene of a kind (0 land, 1 water) over the whole canvas."""
    horizon = -0.05 if rng.random() < 0.15 else between(rng, 0.16, 0.5)
    top, low = SKIES[int(rng.integers(len(SKIES)))]
    if horizon > 0:
        _draw_sky(canvas, top, low, horizon, rng)
    if place == 1:
        _draw_water(canvas, low, horizon, rng)
    else:
        _draw_land(canvas, low, horizon, rng)
    _draw_things(canvas, horizon, rng)


def _draw_sky(canvas: Canvas, top: Colour, low: Colour, horizon: float, rng: np.random.Generator) -> None:
    """Draw a gradient, now and then a sun, and clouds."""
    canvas.fill(_gradient(top, low, np.minimum(canvas.y / horizon, 1.0)))
    if rng.random() < 0.4:
        centre, radius = (between(rng, 0.1, 0.9), between(rng, 0.1, 0.9) * horizon), between(rng, 0.035, 0.06)
        canvas.draw(Ellipse(centre, radius * 1.7, radius * 1.7), (1.0, 0.95, 0.75), 0.35, blur=4.0)
        canvas.draw(Ellipse(centre, radius, radius), (1.0, 0.96, 0.82), 0.95)
    for _ in range(int(rng.integers(4))):
        x, y, wide = between(rng, 0.0, 1.0), between(rng, 0.1, 0.75) * horizon, between(rng, 0.07, 0.15)
        shade = mix(low, WHITE, between(rng, 0.5, 1.0))
        for shift, rise, share in ((-0.6, 0.1, 0.6), (0.0, -0.15, 0.8), (0.6, 0.1, 0.6), (0.0, 0.2, 1.1)):
            centre = (x + shift * wide, y + rise * wide)
            canvas.draw(Ellipse(centre, wide * share, wide * 0.32), shade, 0.85, blur=1.5)


def _draw_water(canvas: Canvas, sky: Colour, horizon: float, rng: np.random.Generator) -> None:
    """Draw a surface with waves that shrink towards the horizon, and now and then an island or a sail."""
    far, near = WATERS[int(rng.integers(len(WATERS)))]
    far = mix(far, sky, between(rng, 0.1, 0.5))
    if horizon > 0:
        _draw_range(canvas, horizon, mix(far, (0.3, 0.38, 0.42), 0.6), between(rng, 0.0, 0.09), 0.5, rng)
        if rng.random() < 0.35:
            _draw_sail(canvas, horizon, rng)
    depth = np.maximum(canvas.y - horizon, 0.0) / (1.0 - horizon)
    surface = _edge(canvas, canvas.y - horizon)
    canvas.fill(_gradient(far, near, depth), surface)
    rows = int(rng.integers(9, 18))
    lines = np.sqrt(depth)
    swell = smooth_noise(rng, canvas.x + 0.0 * canvas.y, lines + 0.0 * canvas.x, int(rng.integers(3, 7)), rows)
    ripple = smooth_noise(rng, canvas.x + 0.0 * canvas.y, lines + 0.0 * canvas.x, 12, rows * 3)
    light = between(rng, 0.25, 0.5)
    canvas.fill(mix(near, (0.02, 0.06, 0.14), 0.5), surface * light * np.maximum(0.55 - swell, 0.0) * 1.6)
    canvas.fill(mix(far, WHITE, 0.6), surface * light * np.maximum(swell - 0.5, 0.0) * 2.0)
    canvas.fill(WHITE, surface * 0.5 * np.minimum(np.maximum(ripple - 0.72, 0.0) * 6.0, 1.0))
    for _ in range(int(rng.integers(3, 9))):
        _draw_crest(canvas, horizon, rng)


def _draw_crest(canvas: Canvas, horizon: float, rng: np.random.Generator) -> None:
    """Draw the crest of one wave: two bows that meet."""
    depth = between(rng, 0.15, 1.0)
    x, y, wide = float(rng.random()), horizon + depth * (1.0 - horizon), 0.03 + 0.06 * depth
    for left, right in ((-1.0, 0.0), (0.0, 1.0)):
        middle = (x + wide * (left + right) * 0.5, y + wide * 0.22)
        for end in (left, right):
            canvas.draw(Capsule((x + wide * end, y), middle, 0.003, 0.007), WHITE, 0.7)


def _draw_sail(canvas: Canvas, horizon: float, rng: np.random.Generator) -> None:
    """Draw a small boat on the horizon."""
    x, tall = between(rng, 0.05, 0.95), between(rng, 0.07, 0.13)
    sail = mix(WHITE, hsv(float(rng.random()), 0.6, 0.9), between(rng, 0.0, 0.8))
    canvas.draw(Polygon(((x, horizon - tall), (x + tall * 0.5, horizon - 0.015), (x, horizon - 0.015))), sail)
    hull = ((x - tall * 0.35, horizon - 0.015), (x + tall * 0.6, horizon - 0.015), (x + tall * 0.4, horizon + 0.012))
    canvas.draw(Polygon((*hull, (x - tall * 0.2, horizon + 0.012))), (0.35, 0.2, 0.14))


def _draw_land(canvas: Canvas, sky: Colour, horizon: float, rng: np.random.Generator) -> None:
    """Draw hills, ground with tufts or flowers, and trees from far to near."""
    far, near = MEADOWS[int(rng.integers(len(MEADOWS)))]
    leaf = hsv(between(rng, 0.16, 0.38), between(rng, 0.35, 0.7), between(rng, 0.3, 0.6))
    if horizon > 0:
        _draw_range(canvas, horizon, mix(mix(far, leaf, 0.5), sky, 0.45), between(rng, 0.03, 0.16), 1.0, rng)
    depth = np.maximum(canvas.y - horizon, 0.0) / (1.0 - horizon)
    ground = _edge(canvas, canvas.y - horizon)
    canvas.fill(_gradient(far, near, depth), ground)
    x, y = canvas.x + 0.0 * canvas.y, canvas.y + 0.0 * canvas.x
    patches = smooth_noise(rng, x, y, int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    grain = smooth_noise(rng, x, y, 36, 28)
    canvas.fill(mix(near, (0.1, 0.12, 0.03), 0.5), ground * 0.55 * np.maximum(0.55 - patches, 0.0) * 1.6)
    canvas.fill(mix(far, (1.0, 0.98, 0.7), 0.4), ground * 0.5 * np.maximum(patches - 0.5, 0.0) * 1.6)
    canvas.fill(mix(near, (0.05, 0.08, 0.02), 0.6), ground * 0.5 * np.maximum(0.5 - grain, 0.0))
    _draw_growth(canvas, horizon, leaf, near, rng)


def _draw_growth(canvas: Canvas, horizon: float, leaf: Colour, ground: Colour, rng: np.random.Generator) -> None:
    """Draw trees (from far to near), tufts of grass and flowers."""
    trees = sorted(_squared(between(rng, 0.0, 0.8)) for _ in range(int(rng.integers(2, 8))))
    conifers = rng.random() < 0.4
    for depth in trees:
        foot = (between(rng, 0.0, 1.0), max(horizon, 0.08) + depth * (1.0 - max(horizon, 0.08)))
        _draw_tree(canvas, foot, 0.16 + 0.5 * depth, leaf, conifers, rng)
    blade = mix(ground, leaf, between(rng, 0.3, 1.0))
    for _ in range(int(rng.integers(6, 16))):
        x, y = float(rng.random()), between(rng, max(horizon, 0.0) + 0.06, 1.02)
        tall = 0.02 + 0.05 * y
        for lean in (-0.5, 0.0, 0.45):
            canvas.draw(Capsule((x, y), (x + lean * tall, y - tall), 0.007, 0.002), blade, 0.9)
    if rng.random() < 0.4:
        petal = hsv(float(rng.random()), between(rng, 0.3, 0.8), 0.98)
        for _ in range(int(rng.integers(5, 14))):
            x, y = float(rng.random()), between(rng, max(horizon, 0.0) + 0.06, 1.0)
            canvas.draw(Ellipse((x, y), 0.006 + 0.008 * y, 0.006 + 0.008 * y), petal)


def _draw_tree(
    canvas: Canvas, foot: tuple[float, float], tall: float, leaf: Colour, conifer: bool, rng: np.random.Generator
) -> None:
    """Draw a tree that stands at ``foot``."""
    x, y = foot
    shade = mix(leaf, (0.05, 0.1, 0.03), between(rng, 0.0, 0.45))
    canvas.draw(Capsule((x, y), (x, y - tall * 0.5), tall * 0.06, tall * 0.045), (0.32, 0.22, 0.14))
    if conifer:
        for level, wide in ((0.25, 0.3), (0.45, 0.25), (0.65, 0.18)):
            base = y - tall * level
            corners = ((x - tall * wide, base), (x, base - tall * 0.42), (x + tall * wide, base))
            canvas.draw(Polygon(corners), mix(shade, WHITE, 0.12 * level))
        return
    for dx, dy, radius in ((-0.2, 0.55, 0.22), (0.2, 0.55, 0.22), (0.0, 0.75, 0.26)):
        radius *= between(rng, 0.85, 1.1)
        canvas.draw(Ellipse((x + dx * tall, y - dy * tall), radius * tall, radius * tall * 0.9), shade, blur=0.5)
    canvas.draw(
        Ellipse((x - 0.08 * tall, y - 0.82 * tall), 0.12 * tall, 0.09 * tall), mix(shade, WHITE, 0.18), blur=1.0
    )


def _draw_things(canvas: Canvas, horizon: float, rng: np.random.Generator) -> None:
    """Draw what stands about on land and in water alike: rocks and posts."""
    for _ in range(int(rng.integers(3))):
        depth = between(rng, 0.1, 0.95)
        x, y, wide = float(rng.random()), max(horizon, 0.0) + depth * (1.0 - max(horizon, 0.0)), 0.03 + 0.07 * depth
        stone = mix((0.62, 0.60, 0.58), (0.36, 0.34, 0.36), float(rng.random()))
        canvas.draw(Ellipse((x, y), wide, wide * 0.55), mix(stone, (0.0, 0.0, 0.0), 0.35))
        canvas.draw(Ellipse((x - wide * 0.1, y - wide * 0.1), wide * 0.8, wide * 0.4), stone)
    for _ in range(int(rng.integers(3))):
        depth = between(rng, 0.05, 0.8)
        x, y, tall = float(rng.random()), max(horizon, 0.0) + depth * (1.0 - max(horizon, 0.0)), 0.08 + 0.2 * depth
        wood = mix((0.50, 0.36, 0.24), (0.72, 0.66, 0.60), float(rng.random()))
        canvas.draw(Capsule((x, y), (x, y - tall), 0.008 + 0.012 * depth, 0.008 + 0.012 * depth), wood)


def _draw_range(
    canvas: Canvas, horizon: float, colour: Colour, height: float, reach: float, rng: np.random.Generator
) -> None:
    """Draw hills (or an island, where ``reach`` is below 1) that rise from the horizon."""
    crest = smooth_noise(rng, canvas.x, np.zeros((1, 1)), int(rng.integers(2, 6)), 1)
    line = horizon - height * np.maximum(crest - (1.0 - reach), 0.0) / reach
    canvas.fill(colour, _edge(canvas, canvas.y - line))


def _squared(value: float) -> float:
    """Return a value times itself; powers are left to libraries that round as they like."""
    return value * value


def _gradient(top: Colour, bottom: Colour, share: Floats) -> Floats:
    """Return colours ``(3, H, W)`` from ``top`` at share 0 to ``bottom`` at share 1."""
    first, second = np.array(top).reshape(3, 1, 1), np.array(bottom).reshape(3, 1, 1)
    colours: Floats = first + share * (second - first)
    return colours


def _edge(canvas: Canvas, inside: Floats) -> Floats:
    """Return the coverage of the region where ``inside`` (a length in the image) is positive."""
    return np.minimum(np.maximum(0.5 + inside * canvas.size, 0.0), 1.0)
