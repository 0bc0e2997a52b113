"""The charts behind an evaluation's numbers, as figures and as tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskexp.evaluation import Chart
from maskexp.files import atomic_write

__all__ = ["draw_chart", "write_charts"]

MARKERS = "os^vDPX*<>"


def write_charts(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Write each of ``charts`` as ``<name>.png`` and ``<name>.csv`` below a directory; return the figures' paths."""
    figures = []
    for each in charts:
        path = directory / f"{each.name}.png"
        with atomic_write(path) as temporary:
            draw_chart(each).savefig(temporary)
        with (
            atomic_write(path.with_suffix(".csv")) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file)
            table.writerow([each.x_label, *each.series])
            table.writerows(zip(each.x, *each.series.values(), strict=True))
        figures.append(path)
    return figures


def draw_chart(chart: Chart) -> Figure:
    """Draw all series into one figure of 6.4 by 4.2 inches: lines, or bars where the positions are names."""
    figure = Figure(figsize=(6.4, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    if any(isinstance(position, str) for position in chart.x):
        _draw_bars(axes, chart)
    else:
        _draw_lines(axes, chart)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    return figure


def _draw_lines(axes: Axes, chart: Chart) -> None:
    style: dict[str, Any] = {"markersize": 4, "linewidth": 1.4, "markevery": max(len(chart.x) // 20, 1)}
    for i, (name, values) in enumerate(chart.series.items()):
        axes.plot(chart.x, values, marker=MARKERS[i % len(MARKERS)], label=name, **style)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False)


def _draw_bars(axes: Axes, chart: Chart) -> None:
    width = 0.8 / max(len(chart.series), 1)
    for i, (name, values) in enumerate(chart.series.items()):
        left = [group - 0.4 + i * width for group in range(len(chart.x))]
        bars = axes.bar(left, values, width, align="edge", label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize="x-small")
    axes.set_xticks(range(len(chart.x)), [str(group) for group in chart.x], fontsize="small")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    # Above the axes: bars leave no corner free for it.
    axes.figure.legend(loc="outside upper center", ncols=4, fontsize="small", frameon=False)
