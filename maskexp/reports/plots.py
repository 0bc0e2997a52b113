"""Plots as SVG that take their colours from the page, so that they turn dark with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Bar", "bars", "histogram", "lines"]

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 14, 42
COLOURS = 6
"""Colours that the page's style names."""

Line = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        value: its height, in [0, 1].
        interval: of the value, None if it is not known.
        note: what it stands for, e.g. the number of images.
    """

    value: float
    interval: tuple[float, float] | None = None
    note: str = ""


def lines(title: str, x_label: str, y_label: str, series: Mapping[str, Line]) -> Markup:
    """Draw lines over a common axis.

    Args:
        title: what the plot shows, also for those who do not see it.
        x_label: what the axis below is.
        y_label: what the axis at the left is.
        series: positions and values of each line, by its name in the legend.
    """
    shown = {name: line for name, line in series.items() if line[0]}
    numbers = {name: number for number, name in enumerate(series)}
    xs = [x for line in shown.values() for x in line[0]]
    ys = [y for line in shown.values() for y in line[1]]
    if not xs:
        return Markup("")
    axis = _Axes(min(xs), max(xs), *_span(ys))
    parts = [axis.frame(x_label, y_label, _ticks(min(xs), max(xs), whole=True))]
    for name, (at, values) in shown.items():
        number = numbers[name]
        points = " ".join(f"{axis.x(x):.1f},{axis.y(y):.1f}" for x, y in zip(at, values, strict=True))
        colour = number % COLOURS
        dashed = " dashed" if number >= COLOURS else ""
        parts.append(Markup('<polyline class="line s{}{}" points="{}"/>').format(colour, dashed, points))
        for x, y in zip(at, values, strict=True):
            parts.append(
                Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="2.4"><title>{}</title></circle>').format(
                    colour, axis.x(x), axis.y(y), f"{name}, {x_label} {x:g}: {y:.4g}"
                )
            )
    last = "; ".join(f"{name} ends at {values[-1]:.3g}" for name, (_, values) in shown.items())
    return _figure(title, f"{title}. {last}.", parts, {name: numbers[name] for name in shown})


def bars(title: str, y_label: str, groups: Sequence[str], series: Mapping[str, Sequence[Bar | None]]) -> Markup:
    """Draw a bar of each series for each group, with its interval.

    Args:
        title: what the plot shows.
        y_label: what the axis at the left is.
        groups: names below the bars.
        series: one bar for each group, None where there is none, by its name in the legend.
    """
    if not groups or not series:
        return Markup("")
    axis = _Axes(0, len(groups), 0, 1)
    parts = [axis.frame("", y_label, [])]
    width = 0.76 / len(series)
    letters = max(int((WIDTH - LEFT - RIGHT) / len(groups) / 6.8), 4)
    for place, group in enumerate(groups):
        parts.append(_name_below(axis.x(place + 0.5), group, letters))
        for number, (name, values) in enumerate(series.items()):
            bar = values[place]
            if bar is not None:
                left = place + 0.12 + number * width
                parts.append(_bar(axis, left, width * 0.92, bar, number % COLOURS, f"{name}, {group}"))
    said = "; ".join(
        f"{name}: "
        + ", ".join(f"{g} {bar.value:.3f}" for g, bar in zip(groups, values, strict=True) if bar is not None)
        for name, values in series.items()
    )
    return _figure(title, f"{title}. {said}.", parts, {name: number for number, name in enumerate(series)})


def histogram(title: str, x_label: str, series: Mapping[str, Sequence[float]], marks: Mapping[str, float]) -> Markup:
    """Draw how often values in [0, 1] occur, in twenty bins, as the share of each series' images.

    Args:
        title: what the plot shows.
        x_label: what the values are.
        series: values by name in the legend.
        marks: values at which an upright line stands, by name.
    """
    bins = 20
    counted = {name: _shares(values, bins) for name, values in series.items() if values}
    if not counted:
        return Markup("")
    top = max(max(shares) for shares in counted.values())
    axis = _Axes(0, 1, 0, top * 1.08)
    parts = [axis.frame(x_label, "share of images", [0, 0.25, 0.5, 0.75, 1])]
    numbers = {name: number for number, name in enumerate(series)}
    for name, shares in counted.items():
        number = numbers[name]
        corners = [(axis.x(0), axis.y(0))]
        for place, share in enumerate(shares):
            corners += [(axis.x(place / bins), axis.y(share)), (axis.x((place + 1) / bins), axis.y(share))]
        corners.append((axis.x(1), axis.y(0)))
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        mean = math.fsum(series[name]) / len(series[name])
        parts.append(
            Markup('<polygon class="area s{}" points="{}"><title>{}</title></polygon>').format(
                number % COLOURS, points, f"{name}: mean {mean:.3f} of {len(series[name])} images"
            )
        )
    for name, value in marks.items():
        x = axis.x(min(max(value, 0), 1))
        anchor, beside = ("start", 4) if value < 0.6 else ("end", -4)
        parts.append(
            Markup(
                '<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="tick" x="{3:.1f}" y="{4}" text-anchor="{5}">{6}</text>'
            ).format(x, TOP, HEIGHT - BOTTOM, x + beside, TOP + 10, anchor, f"{name} {value:.2f}")
        )
    means = "; ".join(f"{name}: mean {math.fsum(v) / len(v):.3f} of {len(v)} images" for name, v in series.items() if v)
    return _figure(title, f"{title}. {means}.", parts, {name: numbers[name] for name in counted})


class _Axes:
    """From values to places in the drawing."""

    def __init__(self, left: float, right: float, bottom: float, top: float) -> None:
        self.left, self.right = left, right if right > left else left + 1
        self.bottom, self.top = bottom, top if top > bottom else bottom + 1

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def frame(self, x_label: str, y_label: str, x_ticks: Sequence[float]) -> Markup:
        """Return axes, grid and labels."""
        parts = []
        for tick in _ticks(self.bottom, self.top):
            place = self.y(tick)
            parts.append(
                Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                    LEFT, WIDTH - RIGHT, place, place
                )
            )
            parts.append(
                Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(
                    LEFT - 6, place + 3.5, round(tick, 10)
                )
            )
        upright = Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>')
        parts += [upright.format(self.x(tick), HEIGHT - BOTTOM + 16, round(tick, 10)) for tick in x_ticks]
        parts.append(
            Markup('<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(
                LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
            )
        )
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label
            )
        )
        parts.append(
            Markup(
                '<text class="label" text-anchor="middle" transform="translate(12 {}) rotate(-90)">{}</text>'
            ).format(middle, y_label)
        )
        return Markup("").join(parts)


def _bar(axis: _Axes, left: float, width: float, bar: Bar, colour: int, name: str) -> Markup:
    x, y = axis.x(left), axis.y(min(max(bar.value, 0), 1))
    wide = axis.x(left + width) - x
    interval = f" [{bar.interval[0]:.3f}, {bar.interval[1]:.3f}]" if bar.interval else ""
    note = f" ({bar.note})" if bar.note else ""
    drawn = Markup(
        '<rect class="bar s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"><title>{}</title></rect>'
    ).format(colour, x, y, wide, HEIGHT - BOTTOM - y, f"{name}: {bar.value:.3f}{interval}{note}")
    if bar.interval is None:
        return drawn
    middle, low, high = x + wide / 2, axis.y(max(bar.interval[0], 0)), axis.y(min(bar.interval[1], 1))
    whisker = Markup('<path class="whisker" d="M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h6M{3:.1f} {2:.1f}h6"/>').format(
        middle, low, high, middle - 3
    )
    return drawn + whisker


def _name_below(x: float, group: str, letters: int) -> Markup:
    """Return the name of a group below its bars: label and attribute on a line each, since groups share one of them."""
    label, slash, attribute = group.rpartition("/")
    rows = [f"{label}{slash}", attribute] if label and len(group) > letters else [group]
    drawn = Markup("").join(
        Markup('<tspan x="{:.1f}" y="{}">{}</tspan>').format(
            x, HEIGHT - BOTTOM + 15 + 12 * number, row if len(row) <= letters else f"{row[: letters - 1]}…"
        )
        for number, row in enumerate(rows)
    )
    return Markup('<text class="tick" text-anchor="middle">{}<title>{}</title></text>').format(drawn, group)


def _figure(title: str, description: str, parts: Sequence[Markup], legend: Mapping[str, int]) -> Markup:
    drawn = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, description, Markup("").join(parts)
    )
    entries = Markup("").join(
        Markup('<li><span class="swatch s{}{}"></span>{}</li>').format(
            number % COLOURS, " dashed" if number >= COLOURS else "", name
        )
        for name, number in legend.items()
    )
    listed = Markup('<ul class="legend">{}</ul>').format(entries) if len(legend) > 1 else Markup("")
    return Markup('<figure class="plot"><figcaption>{}</figcaption>{}{}</figure>').format(escape(title), drawn, listed)


def _shares(values: Sequence[float], bins: int) -> list[float]:
    counts = [0] * bins
    for value in values:
        counts[min(max(int(value * bins), 0), bins - 1)] += 1
    return [count / len(values) for count in counts]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: 0 to 1 for shares, and somewhat more than the values otherwise."""
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        return (0.0, 1.0) if high > 0.5 else (0.0, high * 1.1 or 1.0)
    margin = (high - low) * 0.05 or 1.0
    return (min(low - margin, 0.0) if low < 0 else 0.0), high + margin


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return about five round values from low to high."""
    if high <= low:
        return [low]
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw - 1e-12)
    if whole:
        step = max(math.ceil(step), 1)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
