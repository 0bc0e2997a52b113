"""Charts as figures and tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.evaluation import Chart
from maskexp.results import write_charts
from maskexp.results.charts import draw_chart

LINES = Chart(
    "toy/accuracy", "removed", "accuracy", [0.0, 0.5, 1.0], {"grey": [0.9, 0.4, 0.1], "layer": [0.9, 0.7, 0.1]}
)


def test_a_image_and_a_table_stand_beside_each_other(tmp_path: Path) -> None:
    (figure,) = write_charts([LINES], tmp_path)
    assert figure == tmp_path / "toy" / "accuracy.png"
    with Image.open(figure) as image:
        assert image.size == (704, 462)
        assert len(np.unique(np.asarray(image.convert("L")))) > 20, "nothing was drawn"
    with figure.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["removed", "grey", "layer"], ["0.0", "0.9", "0.9"], ["0.5", "0.4", "0.7"], ["1.0", "0.1", "0.1"]]
    assert {path.name for path in figure.parent.iterdir()} == {"accuracy.png", "accuracy.csv"}


def test_named_positions_make_bars(tmp_path: Path) -> None:
    bars = Chart("toy/bars", "patches", "cosine ↑", ["small", "large"], {"grey": [0.5, 1.0], "layer": [0.25, np.nan]})
    (axes,) = draw_chart(bars).axes
    assert not axes.lines
    assert [[bar.get_height() for bar in group] for group in axes.containers] == [
        [0.5, 1.0],
        [0.25, pytest.approx(np.nan, nan_ok=True)],
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["small", "large"]
    (figure,) = write_charts([bars], tmp_path)
    with figure.with_suffix(".csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["patches", "grey", "layer"],
            ["small", "0.5", "0.25"],
            ["large", "1.0", "nan"],
        ]


def test_series_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' of broken has 1 values for 2 positions"):
        Chart("broken", "x", "y", [0.0, 1.0], {"a": [0.1]})
