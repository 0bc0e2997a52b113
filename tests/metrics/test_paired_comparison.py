"""Means and win rates against plain counting, on one process and on two."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics.paired_comparison import PairedComparison
from tests.distributed import run_ranks

IMAGES, RIVALS = 9, 3


def drawn() -> Tensor:
    """Scores with many ties."""
    return torch.randint(0, 3, (IMAGES, RIVALS), generator=torch.Generator().manual_seed(0)) / 4


def filled(batches: list[list[int]], *, highest_wins: bool = True) -> dict[str, list[float]]:
    metric = PairedComparison(RIVALS, highest_wins=highest_wins)
    for batch in batches:
        metric.update(drawn()[batch])
    return {name: value.tolist() for name, value in metric.compute().items()}


@pytest.mark.parametrize("highest_wins", [True, False])
def test_values_are_what_counting_by_hand_gives(highest_wins: bool) -> None:
    values, rows = filled([list(range(IMAGES))], highest_wins=highest_wins), drawn().tolist()
    best = max if highest_wins else min
    for rival in range(RIVALS):
        wins = sum((row[rival] == best(row)) / row.count(best(row)) for row in rows)
        assert values["win_rate"][rival] == pytest.approx(wins / IMAGES, abs=1e-9)
        assert values["mean"][rival] == pytest.approx(sum(row[rival] for row in rows) / IMAGES, abs=1e-12)
    assert sum(values["win_rate"]) == pytest.approx(1, abs=1e-9)
    assert values["n"] == IMAGES


def test_nothing_counted_is_nan() -> None:
    assert PairedComparison(2).compute()["mean"].isnan().all()


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a score holds NaN or infinite values in images \[1\]"):
        PairedComparison(2).update(torch.tensor([[0.0, 1.0], [0.5, torch.inf]]))


def _on_ranks(rank: int, world_size: int) -> list[dict[str, list[float]]]:
    shards = ([[[4, 1], [8, 0]], [[2, 3, 5, 6, 7]]], [[], [list(range(IMAGES))]])
    return [filled(shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = filled([[i] for i in range(IMAGES)])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]
