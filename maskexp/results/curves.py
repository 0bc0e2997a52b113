"""The curves behind an evaluation's numbers, as pictures and as tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from maskexp.evaluation import Curves
from maskexp.files import written_whole

__all__ = ["draw_curves", "write_curves"]

MARKERS = "os^vDPX*<>"


def write_curves(curves: Sequence[Curves], directory: Path) -> list[Path]:
    """Write each of ``curves`` as ``<name>.png`` and ``<name>.csv`` below a directory, and return the pictures."""
    pictures = []
    for each in curves:
        picture = directory / f"{each.name}.png"
        with written_whole(picture) as temporary:
            draw_curves(each).savefig(temporary)
        with written_whole(picture.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([each.x_label, *each.lines])
            table.writerows(zip(each.x, *each.lines.values(), strict=True))
        pictures.append(picture)
    return pictures


def draw_curves(curves: Curves) -> Figure:
    """Draw all lines into one picture of 6.4 by 4.2 inches."""
    figure = Figure(figsize=(6.4, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    style: dict[str, Any] = {"markersize": 4, "linewidth": 1.4, "markevery": max(len(curves.x) // 20, 1)}
    for i, (name, values) in enumerate(curves.lines.items()):
        axes.plot(curves.x, values, marker=MARKERS[i % len(MARKERS)], label=name, **style)
    axes.set_xlabel(curves.x_label)
    axes.set_ylabel(curves.y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False)
    return figure
