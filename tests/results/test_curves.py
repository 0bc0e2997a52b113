"""Curves as pictures and tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.evaluation import Curves
from maskexp.results import write_curves

CURVES = Curves(
    "toy/accuracy", "removed", "accuracy", [0.0, 0.5, 1.0], {"grey": [0.9, 0.4, 0.1], "layer": [0.9, 0.7, 0.1]}
)


def test_a_picture_and_a_table_stand_beside_each_other(tmp_path: Path) -> None:
    (picture,) = write_curves([CURVES], tmp_path)
    assert picture == tmp_path / "toy" / "accuracy.png"
    with Image.open(picture) as image:
        assert image.size == (704, 462)
        assert len(np.unique(np.asarray(image.convert("L")))) > 20, "nothing was drawn"
    with picture.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["removed", "grey", "layer"], ["0.0", "0.9", "0.9"], ["0.5", "0.4", "0.7"], ["1.0", "0.1", "0.1"]]
    assert {path.name for path in picture.parent.iterdir()} == {"accuracy.png", "accuracy.csv"}


def test_lines_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="the line 'a' of broken has 1 values for 2 positions"):
        Curves("broken", "x", "y", [0.0, 1.0], {"a": [0.1]})
