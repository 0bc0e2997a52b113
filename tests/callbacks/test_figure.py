from __future__ import annotations

import numpy as np
import pytest

from maskexp.callbacks.figure import CELL, FRAME, GAP, HEADER, MARGIN, OUTLINE, GalleryRow, draw_gallery


def row(**changes: object) -> GalleryRow:
    foreground = np.zeros((8, 8), bool)
    foreground[2:6, 2:6] = True
    values: dict[str, object] = {
        "image": np.full((8, 8, 3), 0.5),
        "foreground": foreground,
        "masks": [np.array([[1.0, 0.0], [0.0, 0.0]])],
        "attribution": np.kron(np.array([[1.0, 0.0], [0.0, 0.0]]), np.ones((4, 4))),
        "group": "landbird/water",
        "label": "landbird",
        "predicted": "waterbird",
        "probability": 0.75,
    }
    return GalleryRow(**values | changes)  # type: ignore[arg-type]


def cell(gallery: np.ndarray, line: int, column: int) -> np.ndarray:
    top, left = HEADER + line * (CELL + GAP), MARGIN + column * (CELL + GAP)
    return gallery[top : top + CELL, left : left + CELL]


def test_columns_show_image_foreground_mask_and_visible_part() -> None:
    gallery = np.asarray(draw_gallery([row()], "val"))
    quarter = CELL // 2
    assert (cell(gallery, 0, 0) == 128).all()
    assert cell(gallery, 0, 1).mean() == pytest.approx(255 / 4, abs=2)
    mask = cell(gallery, 0, 2)
    assert (mask[: quarter - 1, : quarter - 1] == 255).all()
    assert (mask[quarter + 1 :] == 0).all()
    visible = cell(gallery, 0, 3)
    assert (visible[5, 5] == 128).all()
    assert (visible[-5, -5] == round(128 * 0.15)).all()
    assert (visible == OUTLINE).all(axis=-1).any()


def test_every_cell_has_a_frame() -> None:
    gallery = np.asarray(draw_gallery([row(masks=[np.ones((2, 2))])], "val"))
    assert tuple(gallery[HEADER - 1, MARGIN + 2 * (CELL + GAP) + 5]) == FRAME


def test_a_row_for_each_sample() -> None:
    one, three = draw_gallery([row()], ""), draw_gallery([row()] * 3, "")
    assert three.height - one.height == 2 * (CELL + GAP)
    assert three.width == one.width


def test_a_sample_without_foreground_leaves_its_cell_empty() -> None:
    gallery = np.asarray(draw_gallery([row(), row(foreground=None)], ""))
    assert (cell(gallery, 1, 1) == 255).all()
    assert not (cell(gallery, 1, 3) == OUTLINE).all(axis=-1).any()


def test_a_classifier_without_masks_has_fewer_columns() -> None:
    plain = draw_gallery([row(masks=[])], "")
    assert draw_gallery([row()], "").width - plain.width == CELL + GAP
    assert draw_gallery([row(masks=[], attribution=None, foreground=None)], "").width < plain.width


def test_right_and_wrong_look_different() -> None:
    right = np.asarray(draw_gallery([row(predicted="landbird")], ""))
    assert not np.array_equal(right, np.asarray(draw_gallery([row()], "")))


def test_no_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        draw_gallery([], "")
