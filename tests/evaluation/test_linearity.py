"""Linearity of a classifier that is linear under black, and cannot be under another colour."""

from __future__ import annotations

from typing import Any

import pytest

from maskexp.evaluation.linearity import Linearity
from tests.distributed import run_ranks
from tests.evaluation.doubles import ColourMeans, Explained, batch, coloured, coloured_answers, named, spec

SMALL: dict[str, Any] = {"hiding": ("black", "layer", "#ffffff"), "sizes": (2, 4)}


def test_a_mean_over_black_is_linear_and_over_white_is_not() -> None:
    values = coloured_answers(Linearity(**SMALL), [list(range(6))])
    for name in ("patches2", "patches4"):
        assert values[f"linearity/{name}/black/residual"] == pytest.approx(0, abs=1e-6)
        assert values[f"linearity/{name}/black/cosine"] == pytest.approx(1, abs=1e-6)
        assert values[f"linearity/{name}/#ffffff/residual"] > 0.5
        assert values[f"linearity/{name}/black/residual_win_rate"] == 1
        assert values[f"linearity/{name}/n"] == 6


def test_charts_show_the_means_of_each_size() -> None:
    evaluation = Linearity(**SMALL)
    values = coloured_answers(evaluation, [list(range(6))])
    residual, cosine = evaluation.charts()
    assert residual.x == cosine.x == ["patches2", "patches4"]
    assert residual.series["layer"] == [values[f"linearity/{size}/layer/residual"] for size in residual.x]
    assert cosine.series["#ffffff"] == [values[f"linearity/{size}/#ffffff/cosine"] for size in cosine.x]


def test_a_mean_over_what_is_visible_is_linear_in_direction_and_four_times_too_long() -> None:
    """Of four patches of one size, the mean of all is a quarter of the sum of the four means."""
    values = coloured_answers(Linearity(**SMALL), [list(range(6))])
    assert values["linearity/patches2/layer/residual"] == pytest.approx(3, abs=1e-5)
    assert values["linearity/patches2/layer/cosine"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("batches", [[[0], [5, 2], [1, 3, 4]], [[5, 4, 3, 2, 1, 0], []]])
def test_batches_do_not_change_the_answer(batches: list[list[int]]) -> None:
    assert coloured_answers(Linearity(**SMALL), batches) == pytest.approx(
        coloured_answers(Linearity(**SMALL), [list(range(6))]), abs=1e-9
    )


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4], [1], [0]], [[2], [3], [5]]], [[], [[i] for i in range(6)]])
    return [coloured_answers(Linearity(**SMALL), shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = coloured_answers(Linearity(**SMALL), [[i] for i in range(6)])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_images_without_features_are_left_out() -> None:
    classifier, (images, label) = Explained(ColourMeans()), coloured(3)
    images[1] = 0
    evaluation = Linearity(("black",), sizes=(2,))
    evaluation.prepare(spec(), classifier.network)
    evaluation.update(classifier, batch(images, label), classifier(images))
    assert named(evaluation.compute())["linearity/patches2/n"] == 2


def test_every_takes_rows_of_the_split() -> None:
    assert coloured_answers(Linearity(**SMALL, every=3), [list(range(6))])["linearity/patches2/n"] == 2


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hold 1 whole patches5, but Linearity adds up 4 .* smaller sizes"):
        Linearity(sizes=(5,)).prepare(spec(), ColourMeans())
    with pytest.raises(ValueError, match="a sum needs at least 2"):
        Linearity(patches=1)
