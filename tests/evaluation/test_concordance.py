"""Concordance of a classifier that averages what is visible, which does not see the emptiness around it."""

from __future__ import annotations

import pytest
import torch

from maskexp.evaluation.concordance import Concordance, shrunk
from tests.distributed import run_ranks
from tests.evaluation.doubles import coloured, coloured_answers

WAYS = ("black", "layer", "#ffffff")


def test_a_mean_colour_keeps_its_direction_unless_white_is_mixed_in() -> None:
    values = coloured_answers(Concordance(WAYS, scales=(0.5, 0.25)), [list(range(6))])
    for scale in ("50", "25"):
        for way in ("black", "layer"):  # black only shortens a mean, layer masking does not even do that
            # shrinking itself moves the mean a little
            assert values[f"concordance/{way}/{scale}"] == pytest.approx(0, abs=5e-3)
    assert 0.05 < values["concordance/#ffffff/50"] < values["concordance/#ffffff/25"]
    means = [values[f"concordance/#ffffff/{scale}"] for scale in ("50", "25")]
    assert values["concordance/#ffffff"] == pytest.approx(sum(means) / 2)
    assert values["concordance/n"] == 6


def test_white_pulls_all_images_together() -> None:
    """Worked out from the colours themselves."""
    images, _ = coloured()
    colours = images.mean(dim=(2, 3)).double()
    half = colours / 4 + 3 / 4
    before, after = (torch.nn.functional.normalize(each, dim=1) for each in (colours, half))
    pairs = torch.ones(6, 6).triu(diagonal=1) > 0
    expected = (after @ after.T - before @ before.T).abs()[pairs].mean().item()
    assert coloured_answers(Concordance(WAYS, scales=(0.5,)), [list(range(6))])[
        "concordance/#ffffff/50"
    ] == pytest.approx(expected, abs=1e-5)


def test_a_shrunk_image_stands_in_the_corner() -> None:
    images = torch.rand(2, 3, 8, 10)
    smaller, visible = shrunk(images, 0.5)
    assert visible.sum() == 2 * 4 * 5
    assert visible[..., :4, :5].all()
    assert not smaller[~visible.expand_as(smaller)].any()
    torch.testing.assert_close(smaller.mean(dim=(2, 3)), images.mean(dim=(2, 3)) / 4, atol=0.02, rtol=0)
    assert shrunk(images, 0.01)[1].sum() == 2


def test_the_chart_has_a_line_for_each_way() -> None:
    evaluation = Concordance(WAYS, scales=(0.5, 0.25))
    values = coloured_answers(evaluation, [list(range(6))])
    (chart,) = evaluation.charts()
    assert chart.x == (0.5, 0.25)
    assert list(chart.series) == list(WAYS)
    assert chart.series["#ffffff"] == [values["concordance/#ffffff/50"], values["concordance/#ffffff/25"]]


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4], [1], [0]], [[2], [3], [5]]], [[], [[i] for i in range(6)]])
    return [coloured_answers(Concordance(WAYS), shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = coloured_answers(Concordance(WAYS), [[i] for i in range(6)])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_every_takes_rows_of_the_split() -> None:
    assert coloured_answers(Concordance(WAYS, every=3), [[0, 1, 2], [3, 4, 5]])["concordance/n"] == 2


@pytest.mark.parametrize("scales", [(0.0,), (0.5, 1.0)])
def test_scales_that_shrink_nothing_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="each must be larger than 0 and smaller than 1"):
        Concordance(scales=scales)
