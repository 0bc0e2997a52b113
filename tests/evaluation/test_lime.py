"""Scores of explanations against values worked out by hand, and the whole comparison on a toy."""

from __future__ import annotations

import pytest
import torch

from maskexp.attribution.segments import Patches
from maskexp.evaluation.lime import LimeComparison, alignment, jaccard, top_segments
from tests.distributed import run_ranks
from tests.evaluation.doubles import ColourMeans, Explained, batch, coloured, coloured_answers, named, spec

SMALL = {"hiding": ("black", "layer"), "segments": ("patches4", "patches2"), "samples": 24, "top": 1}


def test_alignment_is_the_cosine_with_the_foreground_above_its_mean() -> None:
    segments = Patches(2)(torch.zeros(1, 3, 4, 4))
    foreground = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    foreground[..., :2, :2] = True  # g = (4 - 1, -1, -1, -1)
    weights = torch.tensor([[0.5, 0.0, 0.0, 0.3]], dtype=torch.float64)
    expected = (3 * 0.5 - 0.3) / (12**0.5 * 0.34**0.5)
    assert alignment(weights, segments, foreground).item() == pytest.approx(expected)
    assert alignment(torch.tensor([[3.0, -1.0, -1.0, -1.0]]), segments, foreground).item() == pytest.approx(1)
    assert alignment(torch.zeros(1, 4), segments, foreground).item() == 0
    assert alignment(weights, segments, torch.ones_like(foreground)).item() == 0


def test_the_highest_weights_are_chosen_among_an_images_own_segments() -> None:
    segments = torch.stack([Patches(2)(torch.zeros(1, 3, 4, 4))[0], torch.zeros(4, 4).long()])
    weights = torch.tensor([[-0.1, 0.4, 0.2, -0.3], [-0.5, 0.0, 0.0, 0.0]])
    chosen = top_segments(weights, segments, 2)[:, 0]
    assert chosen[0].tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]] * 2
    assert chosen[1].all()  # its only segment, although the weights of absent ones are higher
    foreground = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    foreground[..., :2, :] = True
    assert jaccard(chosen[:, None], foreground).tolist() == pytest.approx([4 / 12, 0.5])


def test_on_a_toy_the_coloured_quarter_is_found_and_its_removal_hurts() -> None:
    values = coloured_answers(LimeComparison(("black",), ("patches4",), samples=24, top=1), [list(range(6))])
    assert values["lime/patches4/black/jaccard"] == 1
    assert values["lime/patches4/black/alignment"] > 0.8
    assert values["lime/patches4/black/ablation_acc"] < 1
    assert values["lime/patches4/black/ablation_win_rate"] == 1
    assert values["lime/n"] == values["lime/n_foreground"] == 6


def test_charts_show_scores_and_win_rates_of_each_kind_of_segments() -> None:
    evaluation = LimeComparison(**SMALL)  # type: ignore[arg-type]
    values = coloured_answers(evaluation, [list(range(6))])
    charts = {chart.name: chart for chart in evaluation.charts()}
    assert sorted(charts) == [f"lime/patches{size}_{what}" for size in (2, 4) for what in ("scores", "win_rates")]
    scores, rates = charts["lime/patches4_scores"], charts["lime/patches4_win_rates"]
    names = ("alignment", "jaccard", "ablation_acc", "ablation_probability")
    assert scores.series["layer"] == [values[f"lime/patches4/layer/{name}"] for name in names]
    assert rates.series["black"] == [
        values[f"lime/patches4/black/{name}_win_rate"] for name in ("alignment", "jaccard", "ablation")
    ]


def test_ways_of_hiding_share_perturbations_and_wins() -> None:
    values = coloured_answers(LimeComparison(("black", "#000000"), ("patches4",), samples=24, top=1), [list(range(6))])
    for name in ("alignment", "jaccard", "ablation_acc", "ablation_probability"):
        assert values[f"lime/patches4/black/{name}"] == values[f"lime/patches4/#000000/{name}"]
    assert values["lime/patches4/black/alignment_win_rate"] == 0.5


def test_wrong_predictions_are_not_explained_and_foregrounds_may_be_absent() -> None:
    classifier, whole = Explained(ColourMeans()), batch(*coloured())
    whole["label"][0] = 2
    whole["has_foreground"][1] = False
    evaluation = LimeComparison(("black",), ("patches4",), samples=24)
    evaluation.prepare(spec(), classifier.network)
    evaluation.update(classifier, whole, classifier(whole["image"]))
    values = named(evaluation.compute())
    assert (values["lime/n"], values["lime/n_foreground"]) == (5, 4)


def test_without_foregrounds_there_are_ablations_alone() -> None:
    values = coloured_answers(LimeComparison(**SMALL), [[0, 1]], spec(foreground="none"))
    assert {name.rsplit("/", 1)[-1] for name in values} == {
        "n",
        "ablation_acc",
        "ablation_probability",
        "ablation_win_rate",
    }


@pytest.mark.parametrize("batches", [[[0], [5, 2], [1, 3, 4]], [[5, 4, 3, 2, 1, 0], []]])
def test_batches_do_not_change_the_answer(batches: list[list[int]]) -> None:
    assert coloured_answers(LimeComparison(**SMALL), batches) == pytest.approx(
        coloured_answers(LimeComparison(**SMALL), [list(range(6))])
    )


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4], [1], [0]], [[2], [3], [5]]], [[], [[i] for i in range(6)]])
    return [coloured_answers(LimeComparison(**SMALL), shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = coloured_answers(LimeComparison(**SMALL), [[i] for i in range(6)])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_every_takes_rows_of_the_split() -> None:
    assert coloured_answers(LimeComparison(**SMALL, every=3), [list(range(6))])["lime/n"] == 2


@pytest.mark.parametrize("arguments", [{"samples": 1}, {"top": 0}])
def test_impossible_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 samples, and 1 segment"):
        LimeComparison(**arguments)  # type: ignore[arg-type]
