from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.data import CorruptImageError, DataError
from maskexp.data.generate.composites.composite import Composite, fit, paste, write_composite
from tests.fixtures import truncate
from tests.fixtures.images import blob, save, speckle


def test_paste_blends_as_the_formula_says() -> None:
    generator = np.random.default_rng(0)
    bird, background = generator.integers(0, 256, (2, 5, 7, 3), np.uint8)
    alpha = generator.integers(0, 256, (5, 7), np.uint8)
    alpha[0, :3] = (0, 128, 255)

    pasted = paste(bird, alpha, background)

    for y, x, channel in np.ndindex(bird.shape):
        share = alpha[y, x] / 255
        exact = share * bird[y, x, channel] + (1 - share) * background[y, x, channel]
        assert abs(int(pasted[y, x, channel]) - exact) <= 0.5 + 1e-4
    assert (pasted[0, 0] == background[0, 0]).all()
    assert (pasted[0, 2] == bird[0, 2]).all()


def test_fit_takes_the_size_that_truncation_misses_and_every_other() -> None:
    generator = np.random.default_rng(1)
    sizes = [(183, 244, 375, 500), *generator.integers(1, 60, (200, 4)).tolist()]

    for width, height, wanted_width, wanted_height in sizes:
        scene = Image.new("RGB", (width, height), (10, 20, 30))
        fitted = fit(scene, (wanted_width, wanted_height))
        assert fitted.shape == (wanted_height, wanted_width, 3)
        assert (fitted == (10, 20, 30)).all()


def test_fit_cuts_the_centre_out() -> None:
    scene = np.zeros((10, 30, 3), np.uint8)
    scene[:, 10:20] = 255

    assert (fit(Image.fromarray(scene), (10, 10)) == 255).all()


def test_a_image_that_is_there_is_left_alone(tmp_path: Path) -> None:
    save(speckle(1), tmp_path / "bird.png")
    save(blob(1), tmp_path / "mask.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg").write_bytes(b"finished")

    write_composite(Composite("a.jpg", tmp_path / "bird.png", tmp_path / "mask.png"), tmp_path / "out", 95)

    assert (tmp_path / "out/a.jpg").read_bytes() == b"finished"


def test_damaged_sources(tmp_path: Path) -> None:
    save(speckle(1, (40, 30)), tmp_path / "bird.jpg")
    save(blob(1, (41, 30)), tmp_path / "mask.png")
    composite = Composite("a.jpg", tmp_path / "bird.jpg", tmp_path / "mask.png", mask_target="a.png")

    with pytest.raises(DataError, match=r"mask\.png has 41x30 pixels but its image \S+bird\.jpg has 40x30"):
        write_composite(composite, tmp_path / "out", 95)
    truncate(tmp_path / "bird.jpg")
    with pytest.raises(CorruptImageError, match=r"bird\.jpg cannot be decoded"):
        write_composite(composite, tmp_path / "out", 95)
    assert not (tmp_path / "out").exists()
