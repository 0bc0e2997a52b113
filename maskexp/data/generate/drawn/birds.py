"""Two kinds of birds that differ in shape alone.

Water birds have a long neck and a long bill; land birds are stout, with the head on the body. Both stand on the same
short legs: what tells the kinds apart is broad enough to fill a cell of a mask. Plumage, bill and legs draw their
colours from one distribution for both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskexp.data.generate.drawn.canvas import Canvas
from maskexp.data.generate.drawn.draws import Colour, between, hsv, mix
from maskexp.data.generate.drawn.shapes import Capsule, Ellipse, Placement, Polygon, Shape, turn

__all__ = ["draw_bird"]

AREA = (0.12, 0.28)
"""Share of the image that a bird covers, before it is made to fit."""
MARGIN = 0.03
"""Least distance of a bird from the edge of the image."""
OUTLINE = 0.009
"""Width of the outline, in widths of the image."""
Parts = list[tuple[Shape, Colour]]


@dataclass(frozen=True, slots=True)
class Plumage:
    """Colours of one bird."""

    body: Colour
    wing: Colour
    belly: Colour
    bill: Colour
    leg: Colour
    outline: Colour


def draw_bird(canvas: Canvas, kind: int, rng: np.random.Generator) -> None:
    """Draw one bird of a kind (0 land bird, 1 water bird) somewhere in the image, and its mask."""
    plumage = _plumage(rng)
    parts = _water_bird(plumage, rng) if kind == 1 else _land_bird(plumage, rng)
    placement = _placement([shape for shape, _ in parts], rng)
    placed: Parts = [(shape.placed(placement), colour) for shape, colour in parts]
    canvas.draw_foreground(placed, plumage.outline, OUTLINE)


def _plumage(rng: np.random.Generator) -> Plumage:
    """Draw colours: a main colour, a wing that is darker or lighter, a pale or equal belly."""
    hue, value = float(rng.random()), between(rng, 0.35, 1.0)
    body = hsv(hue, between(rng, 0.05, 0.75), value)
    wing = mix(body, (0.08, 0.08, 0.1) if rng.random() < 0.65 else (1.0, 1.0, 1.0), between(rng, 0.25, 0.6))
    belly = mix(body, (1.0, 0.97, 0.9), between(rng, 0.0, 0.7))
    bill = hsv(between(rng, 0.0, 0.16), between(rng, 0.4, 0.95), between(rng, 0.35, 1.0))
    leg = hsv(between(rng, 0.0, 0.16), between(rng, 0.3, 0.9), between(rng, 0.3, 0.95))
    return Plumage(body, wing, belly, bill, leg, mix(body, (0.05, 0.05, 0.07), 0.8))


def _land_bird(plumage: Plumage, rng: np.random.Generator) -> Parts:
    """Return a stout bird that looks to the right, its body at the origin."""
    lean = turn(between(rng, -0.22, 0.02))
    posture = Placement(turn=lean)
    long, high = between(rng, 0.34, 0.4), between(rng, 0.26, 0.31)
    head = (between(rng, 0.2, 0.28), between(rng, -0.32, -0.26))
    radius = between(rng, 0.17, 0.21)
    tail_length, tail_lift = between(rng, 0.22, 0.4), between(rng, -0.22, 0.12)
    bill_length, bill_drop = between(rng, 0.1, 0.16), between(rng, -0.01, 0.05)
    parts = _legs(high, plumage, rng)
    tip = -long - tail_length + 0.1
    tail = Polygon(((-long + 0.12, -0.1), (tip, tail_lift - 0.05), (tip, tail_lift + 0.06), (-long + 0.12, 0.1)))
    beak_at = head[0] + radius
    beak = Polygon(
        (
            (beak_at - 0.05, head[1] - 0.055),
            (beak_at + bill_length, head[1] + 0.02 + bill_drop),
            (beak_at - 0.05, head[1] + 0.075),
        )
    )
    upper: Parts = [
        (tail, plumage.wing),
        (beak, plumage.bill),
        (Ellipse((0.0, 0.0), long, high), plumage.body),
        (Ellipse((0.1, 0.07), long * 0.62, high * 0.68), plumage.belly),
        (Ellipse(head, radius, radius * 0.95), plumage.body),
    ]
    if rng.random() < 0.3:
        crest = ((head[0] - 0.13, head[1] - 0.08), (head[0] - 0.12, head[1] - 0.3), (head[0] + 0.08, head[1] - 0.14))
        upper.insert(0, (Polygon(crest), plumage.wing))
    upper += _wing((-0.08, -0.01), long * 0.62, high * 0.5, plumage, rng)
    upper += _eye((head[0] + 0.07, head[1] - 0.04), 0.04)
    return parts + [(shape.placed(posture), colour) for shape, colour in upper]


def _water_bird(plumage: Plumage, rng: np.random.Generator) -> Parts:
    """Return a long-necked bird that looks to the right, its body at the origin."""
    lean = turn(between(rng, -0.16, 0.04))
    posture = Placement(turn=lean)
    long, high = between(rng, 0.32, 0.38), between(rng, 0.19, 0.23)
    feeding = rng.random() < 0.15
    head = (
        (between(rng, 0.5, 0.58), between(rng, 0.12, 0.3))
        if feeding
        else (between(rng, 0.2, 0.46), between(rng, -0.66, -0.5))
    )
    bend = between(rng, 0.1, 0.34)
    tail_length, tail_drop = between(rng, 0.1, 0.2), between(rng, -0.04, 0.08)
    bill = (between(rng, 0.2, 0.3), between(rng, 0.0, 0.1) + (0.14 if feeding else 0.0))
    parts = _legs(high, plumage, rng)
    tip = -long - tail_length
    tail = Polygon(((-long + 0.14, -0.11), (tip, tail_drop - 0.03), (tip, tail_drop + 0.05), (-long + 0.14, 0.1)))
    beak = Polygon(
        (
            (head[0] + 0.02, head[1] - 0.06),
            (head[0] + 0.09 + bill[0], head[1] + bill[1]),
            (head[0] + 0.02, head[1] + 0.065),
        )
    )
    shoulder = (long * 0.7, -0.04)
    curve = [shoulder, (shoulder[0] + bend, shoulder[1] - 0.12), (head[0] - bend, head[1] + 0.1), head]
    upper: Parts = [(tail, plumage.wing), (beak, plumage.bill)]
    upper += [(Ellipse((0.0, 0.0), long, high), plumage.body)]
    upper += [(piece, plumage.body) for piece in _neck(curve)]
    upper += [(Ellipse((0.06, 0.05), long * 0.6, high * 0.6), plumage.belly)]
    upper += [(Ellipse(head, 0.125, 0.105), plumage.body)]
    if rng.random() < 0.3:
        crest = ((head[0], head[1] - 0.06), (head[0] - 0.24, head[1] - 0.03), (head[0], head[1] + 0.03))
        upper.insert(0, (Polygon(crest), plumage.wing))
    upper += _wing((-0.08, -0.02), long * 0.68, high * 0.58, plumage, rng)
    upper += _eye((head[0] + 0.025, head[1] - 0.02), 0.032)
    return parts + [(shape.placed(posture), colour) for shape, colour in upper]


def _legs(hip: float, plumage: Plumage, rng: np.random.Generator) -> Parts:
    """Return two short legs, drawn alike for both kinds."""
    gap, length = between(rng, 0.05, 0.1), between(rng, 0.1, 0.17)
    parts: Parts = []
    for shift in (-gap, gap + 0.03):
        start, foot = (shift, hip - 0.04), (shift + 0.02, hip - 0.04 + length)
        parts += [(Capsule(start, foot, 0.026, 0.022), plumage.leg)]
        parts += [(Capsule(foot, (foot[0] + 0.08, foot[1] + 0.005), 0.022, 0.018), plumage.leg)]
    return parts


def _neck(curve: list[tuple[float, float]], pieces: int = 7) -> list[Capsule]:
    """Return a tapering tube along a cubic Bézier curve."""
    points = []
    for step in range(pieces + 1):
        t = step / pieces
        s = 1.0 - t
        w0, w1, w2, w3 = s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t
        # Written out, because sum() of floats rounds differently from Python 3.12 on.
        x, y = (w0 * p0 + w1 * p1 + w2 * p2 + w3 * p3 for p0, p1, p2, p3 in zip(*curve, strict=True))
        points.append((x, y, 0.14 - 0.05 * t))
    return [Capsule(p[:2], q[:2], p[2], q[2]) for p, q in pairwise(points)]


def _wing(centre: tuple[float, float], a: float, b: float, plumage: Plumage, rng: np.random.Generator) -> Parts:
    """Return a folded wing, now and then with a bar."""
    axis = turn(between(rng, 0.02, 0.14))
    wing: Parts = [(Ellipse(centre, a, b, axis), plumage.wing)]
    if rng.random() < 0.5:
        wing += [
            (
                Ellipse((centre[0] + 0.03, centre[1] - 0.01), a * 0.6, b * 0.3, axis),
                mix(plumage.wing, plumage.belly, 0.6),
            )
        ]
    return wing


def _eye(centre: tuple[float, float], radius: float) -> Parts:
    """Return an eye with a light rim."""
    return [
        (Ellipse(centre, radius, radius), (0.98, 0.97, 0.92)),
        (Ellipse(centre, radius * 0.66, radius * 0.66), (0.03, 0.03, 0.04)),
    ]


def _placement(shapes: list[Shape], rng: np.random.Generator) -> Placement:
    """Choose facing, size and position so that the whole bird lies in the image."""
    facing = 1.0 if rng.random() < 0.5 else -1.0
    x0, y0, x1, y1 = _hull(shapes)
    wanted = between(rng, *AREA)
    largest = (1.0 - 2.0 * (MARGIN + OUTLINE)) / max(x1 - x0, y1 - y0)
    scale = min(float(np.sqrt(wanted / _area(shapes, (x0, y0, x1, y1)))), largest)
    if facing < 0:
        x0, x1 = -x1, -x0
    edge = MARGIN + OUTLINE
    x = between(rng, edge - scale * x0, 1.0 - edge - scale * x1)
    y = between(rng, edge - scale * y0, 1.0 - edge - scale * y1)
    return Placement((x, y), scale, facing)


def _hull(shapes: list[Shape]) -> tuple[float, float, float, float]:
    """Return the box around all shapes."""
    boxes = [shape.bounds for shape in shapes]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _area(shapes: list[Shape], box: tuple[float, float, float, float], cells: int = 40) -> float:
    """Return the area of the union of shapes, counted on a grid over their box."""
    x0, y0, x1, y1 = box
    steps = (np.arange(cells, dtype=np.float64) + 0.5) / cells
    x, y = x0 + steps[None, :] * (x1 - x0), y0 + steps[:, None] * (y1 - y0)
    inside = np.zeros((cells, cells), dtype=bool)
    for shape in shapes:
        inside |= shape.distance(x, y) < 0.0
    return int(inside.sum()) / (cells * cells) * (x1 - x0) * (y1 - y0)
