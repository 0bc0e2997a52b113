"""Pictures of predictions, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

__all__ = ["GalleryRow", "draw_gallery", "visible_part"]

Map = NDArray[np.floating[Any]]

CELL = 1.2  # inches
TEXT = 1.7  # inches, width of the column with the prediction
DPI = 110
RIGHT, WRONG, OUTLINE = "#1a7f37", "#c4281c", "#ff9f1c"


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """One sample of a gallery.

    Attributes:
        image: ``(H, W, 3)`` float in [0, 1].
        foreground: ``(H, W)`` bool, or None where it is not known.
        masks: ``(h, w)`` in [0, 1], one for each masked stage, on its own grid.
        attribution: ``(H, W)`` float in [0, 1], or None.
        group: name of the group, may be empty.
        label: name of the true class.
        predicted: name of the predicted class.
        probability: of the predicted class.
    """

    image: Map
    foreground: NDArray[np.bool_] | None
    masks: Sequence[Map]
    attribution: Map | None
    group: str
    label: str
    predicted: str
    probability: float


def draw_gallery(rows: Sequence[GalleryRow], title: str) -> Image.Image:
    """Draw a row for each sample: image, foreground, masks, the part that the attribution shows, and the prediction.

    The outline of the foreground is drawn over the last picture, so that one sees whether the mask sits on the object.
    """
    if not rows:
        raise ValueError("a gallery needs at least one sample")
    columns = _columns(rows)
    width, height = CELL * len(columns) + TEXT, CELL * len(rows) + 0.55
    figure = Figure(figsize=(width, height), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(rows),
        len(columns) + 1,
        width_ratios=[CELL] * len(columns) + [TEXT],
        left=0.01,
        right=0.99,
        bottom=0.01,
        top=1 - 0.5 / height,
        wspace=0.04,
        hspace=0.04,
    )
    for i, row in enumerate(rows):
        for j, name in enumerate(columns):
            axes = figure.add_subplot(grid[i, j])
            _draw_cell(axes, row, name)
            if i == 0:
                axes.set_title(_heading(name, row), fontsize=8, pad=3)
        _write_prediction(figure.add_subplot(grid[i, len(columns)]), row)
    figure.text(0.99, 1 - 0.08 / height, title, fontsize=8, ha="right", va="top", color="0.35")
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).convert("RGB")


def visible_part(image: Map, attribution: Map, dimmed: float = 0.15) -> Map:
    """Return the image, darkened to ``dimmed`` where the attribution is 0.

    Args:
        image: ``(H, W, 3)`` in [0, 1].
        attribution: ``(H, W)`` in [0, 1].
        dimmed: brightness that is left where nothing is attributed.
    """
    return image * (dimmed + (1 - dimmed) * attribution.clip(0, 1)[..., None])


def _columns(rows: Sequence[GalleryRow]) -> list[str]:
    columns = ["image"]
    if any(row.foreground is not None for row in rows):
        columns.append("foreground")
    columns += [f"mask {stage}" for stage in range(len(rows[0].masks))]
    if any(row.attribution is not None for row in rows):
        columns.append("merged mask" if rows[0].masks else "attribution")
    return columns


def _heading(column: str, row: GalleryRow) -> str:
    if not column.startswith("mask "):
        return column
    height, width = row.masks[int(column.removeprefix("mask "))].shape
    return f"mask {height}×{width}"


def _draw_cell(axes: Axes, row: GalleryRow, column: str) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():  # a frame, without which a mask of ones would be white on white
        spine.set(color="0.7", linewidth=0.6)
    if column == "image":
        axes.imshow(row.image)
    elif column == "foreground":
        if row.foreground is not None:
            axes.imshow(row.foreground, cmap="gray", vmin=0, vmax=1)
    elif column.startswith("mask "):
        mask = row.masks[int(column.removeprefix("mask "))]
        axes.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    elif row.attribution is not None:
        axes.imshow(visible_part(row.image, row.attribution))
        if row.foreground is not None and row.foreground.any() and not row.foreground.all():
            axes.contour(row.foreground, levels=[0.5], colors=OUTLINE, linewidths=0.8)


def _write_prediction(axes: Axes, row: GalleryRow) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    correct = row.predicted == row.label
    axes.text(0.06, 0.72, row.group or row.label, fontsize=8, va="center", color="0.25")
    axes.text(0.06, 0.5, row.predicted, fontsize=9, va="center", weight="bold", color=RIGHT if correct else WRONG)
    verdict = "right" if correct else f"wrong, is {row.label}"
    axes.text(0.06, 0.28, f"{row.probability:.0%}, {verdict}", fontsize=8, va="center", color="0.25")
