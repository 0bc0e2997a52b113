"""Images of predictions, composed pixel by pixel: a gallery of eight samples takes a few hundredths of a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maskexp.overlay import visible_part

__all__ = ["GalleryRow", "draw_gallery"]

Map = NDArray[np.floating[Any]]
Color = tuple[int, int, int]

CELL, GAP, MARGIN = 132, 6, 8  # pixels
HEADER, TEXT = 40, 210  # pixels: height of title and headings, width of the column with the prediction
SMALL, LARGE = 13, 16  # font sizes
BLACK, GREY, FRAME = (20, 20, 20), (95, 95, 95), (190, 190, 190)
RIGHT, WRONG, OUTLINE = (26, 127, 55), (196, 40, 28), (255, 159, 28)


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
    """Draw a row for each sample: image, foreground, masks, what the attribution leaves visible, and the prediction.

    The outline of the foreground is drawn over the visible part, so that one sees whether the mask sits on the object.

    Args:
        rows: at least one sample; all have equally many masks.
        title: written above.
    """
    if not rows:
        raise ValueError("a gallery needs at least one sample")
    columns = [_cells(row) for row in rows]
    headings = list(dict.fromkeys(name for cells in columns for name in cells))
    width = 2 * MARGIN + len(headings) * (CELL + GAP) + TEXT
    height = HEADER + len(rows) * (CELL + GAP) + MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((width - MARGIN, 4), title, GREY, _font(SMALL), anchor="ra")
    for j, heading in enumerate(headings):
        draw.text((_left(j) + CELL // 2, HEADER - 4), heading, BLACK, _font(SMALL), anchor="mb")
    for i, (row, cells) in enumerate(zip(rows, columns, strict=True)):
        top = HEADER + i * (CELL + GAP)
        for j, heading in enumerate(headings):
            if heading in cells:
                canvas.paste(cells[heading], (_left(j), top))
                draw.rectangle((_left(j) - 1, top - 1, _left(j) + CELL, top + CELL), outline=FRAME)
        _write_prediction(draw, (_left(len(headings)) + GAP, top + CELL // 2), row)
    return canvas


def _cells(row: GalleryRow) -> dict[str, Image.Image]:
    """Return the cells of a row by their headings."""
    cells = {"image": _cell(row.image)}
    if row.foreground is not None:
        cells["foreground"] = _cell(row.foreground, Image.Resampling.NEAREST)
    for stage, mask in enumerate(row.masks, start=1):
        cells[f"mask {stage}: {mask.shape[0]}x{mask.shape[1]}"] = _cell(mask, Image.Resampling.NEAREST)
    if row.attribution is not None:
        visible = _cell(visible_part(row.image, row.attribution))
        outlined = visible if row.foreground is None else _outlined(visible, cells["foreground"])
        cells["merged mask" if row.masks else "attribution"] = outlined
    return cells


def _cell(values: NDArray[Any], resampling: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """Return ``(H, W)`` or ``(H, W, 3)`` values in [0, 1] as a square image."""
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB").resize((CELL, CELL), resampling)


def _outlined(canvas: Image.Image, foreground: Image.Image) -> Image.Image:
    """Paint the outline of a white-on-black foreground over an image."""
    inside = np.asarray(foreground.convert("L")) > 127
    padded = np.pad(inside, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.logical_or.reduce([neighbour != inside for neighbour in neighbours])
    pixels = np.asarray(canvas).copy()
    pixels[edge] = OUTLINE
    return Image.fromarray(pixels)


def _write_prediction(draw: ImageDraw.ImageDraw, middle: tuple[int, int], row: GalleryRow) -> None:
    """Write the group, the predicted class and whether it is right; ``middle`` is the left end of the middle line."""
    x, y = middle
    correct = row.predicted == row.label
    verdict = "right" if correct else f"wrong, is {row.label}"
    draw.text((x, y - 24), row.group or row.label, GREY, _font(SMALL), anchor="lm")
    draw.text((x, y), row.predicted, RIGHT if correct else WRONG, _font(LARGE), anchor="lm")
    draw.text((x, y + 24), f"{row.probability:.0%}, {verdict}", GREY, _font(SMALL), anchor="lm")


def _left(column: int) -> int:
    return MARGIN + column * (CELL + GAP)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
