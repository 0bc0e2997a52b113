"""Plots draw each value where it belongs, and say in words what they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from maskexp.reports.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Bar, bars, histogram, lines


def _svg(plot: str) -> ElementTree.Element:
    found = ElementTree.fromstring(plot).find("svg")  # noqa: S314, ours
    assert found is not None
    return found


def test_a_line_runs_through_its_points() -> None:
    drawn = _svg(lines("Accuracy", "epoch", "accuracy", {"a": ((0, 1, 2), (0.0, 1.0, 0.5)), "b": ((), ())}))
    points = [tuple(map(float, pair.split(","))) for pair in drawn.findall("polyline")[0].attrib["points"].split()]
    bottom = HEIGHT - BOTTOM
    assert points[0] == (LEFT, bottom)
    assert points[1] == pytest.approx(((LEFT + WIDTH - RIGHT) / 2, TOP), abs=0.1)
    assert points[2] == pytest.approx((WIDTH - RIGHT, (TOP + bottom) / 2), abs=0.1)
    assert "a ends at 0.5" in drawn.attrib["aria-label"]
    assert drawn.attrib["role"] == "img"


def test_a_series_keeps_its_colour_where_others_are_missing() -> None:
    drawn = _svg(lines("x", "epoch", "y", {"missing": ((), ()), "there": ((0, 1), (1, 2))}))
    assert drawn.findall("polyline")[0].attrib["class"] == "line s1"


def test_bars_are_as_high_as_their_values() -> None:
    plot = bars("Groups", "accuracy", ["g", "h"], {"one": [Bar(0.5, (0.4, 0.6), "8 images"), None]})
    drawn = _svg(plot)
    heights = [float(bar.attrib["height"]) for bar in drawn.findall("rect")]
    assert heights == pytest.approx([(HEIGHT - TOP - BOTTOM) / 2], abs=0.1)
    assert "one, g: 0.500 [0.400, 0.600] (8 images)" in plot
    assert len([path for path in drawn.findall("path") if path.attrib["class"] == "whisker"]) == 1


def test_groups_of_one_label_are_told_apart_below_their_bars() -> None:
    groups = ["a long label/land", "a long label/water", "b/land", "b/water"]
    drawn = _svg(bars("Groups", "accuracy", groups, {"one": [Bar(0.5)] * 4}))
    names = [text for text in drawn.findall("text") if text.find("title") is not None]
    assert [text.findtext("title") for text in names] == groups
    shown = ["".join(row.text or "" for row in text.findall("tspan")) for text in names]
    assert shown == ["a long label/land", "a long label/water", "b/land", "b/water"]
    assert [len(text.findall("tspan")) for text in names] == [2, 2, 1, 1]


def test_a_histogram_has_the_share_of_each_bin() -> None:
    drawn = _svg(histogram("EPG", "EPG", {"a": [0.0, 0.01, 0.5, 1.0], "none": []}, {"constant": 0.2}))
    ys = [float(pair.split(",")[1]) for pair in drawn.findall("polygon")[0].attrib["points"].split()]
    bottom = HEIGHT - BOTTOM
    scale = (bottom - TOP) / (0.5 * 1.08)
    assert sorted({round((bottom - y) / scale, 2) for y in ys}) == [0, 0.25, 0.5]
    assert "constant 0.20" in ElementTree.tostring(drawn, "unicode")


def test_nothing_to_draw_is_nothing() -> None:
    assert lines("x", "a", "b", {"a": ((), ())}) == bars("x", "y", [], {}) == histogram("x", "y", {"a": []}, {}) == ""


def test_names_are_escaped() -> None:
    name = '<b onclick="x">&'
    for plot in (
        lines(name, name, name, {name: ((0,), (1,)), "b": ((0,), (1,))}),
        bars(name, name, [name], {name: [Bar(0.5, None, name)], "b": [None]}),
        histogram(name, name, {name: [0.5], "b": [0.5]}, {name: 0.5}),
    ):
        assert not re.search(r"<b\b", plot)
        assert name in "".join(ElementTree.fromstring(plot).itertext())  # noqa: S314, ours
