"""The small files of the gallery show what they are made of."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from maskexp.reports.gallery import LARGEST, OUTLINE, mask_of, picture_of


def _opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def _opacity(text: str) -> np.ndarray:
    return np.asarray(_opened(text).convert("RGBA"))[..., 3]


def test_an_image_keeps_its_shape_and_is_no_larger_than_needed() -> None:
    image = np.full((400, 300, 3), (200, 30, 40), np.uint8)
    small = _opened(picture_of("x", 0, 0, image, None).image)
    assert small.size == (LARGEST * 3 // 4, LARGEST)
    assert np.asarray(small).reshape(-1, 3).mean(axis=0) == pytest.approx((200, 30, 40), abs=4)
    assert picture_of("x", 0, 0, image, None).foreground == ""


def test_foreground_and_outline() -> None:
    foreground = np.zeros((20, 20), bool)
    foreground[5:15, 4:12] = True
    picture = picture_of("x", 0, 0, np.zeros((20, 20, 3), np.uint8), foreground)
    assert np.array_equal(_opacity(picture.foreground) > 0, foreground)
    edge = _opacity(picture.outline) > 0
    assert edge.sum() == 2 * 10 + 2 * 6
    assert (edge <= foreground).all()
    assert tuple(np.asarray(_opened(picture.outline).convert("RGBA"))[5, 5, :3]) == OUTLINE


def test_cells_stay_sharp_and_smooth_maps_keep_their_levels() -> None:
    cells = np.array([[0, 1], [1, 0]], np.float32)
    opacity = _opacity(mask_of(cells, True))
    assert opacity.shape == (64, 64)
    assert np.array_equal(opacity, np.kron(cells, np.full((32, 32), 255)))
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    assert _opacity(mask_of(ramp, False)) == pytest.approx(ramp * 255, abs=1)
    fine = np.tile(np.linspace(0, 1, 224, dtype=np.float32), (224, 1))
    assert _opacity(mask_of(fine, False)).shape == (64, 64)


def test_an_empty_and_a_full_mask() -> None:
    for value in (0, 1):
        assert (_opacity(mask_of(np.full((4, 4), value, np.float32), True)) == 255 * value).all()
