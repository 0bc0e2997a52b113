"""Changes of cosines against a plain loop over pairs, however the images arrive."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from maskexp.metrics.similarity_shift import SimilarityShift
from tests.distributed import run_ranks

N, CHANGES, WIDTH = 300, 3, 5


def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, WIDTH, generator=generator), torch.randn(N, CHANGES, WIDTH, generator=generator)


def said(batches: list[list[int]]) -> list[float]:
    metric = SimilarityShift(CHANGES)
    reference, changed = features()
    for rows in batches:
        metric.update(reference[rows], changed[rows])
    assert metric.compute()["n"] == N
    return metric.compute()["mean"].tolist()


def test_it_is_the_mean_over_all_pairs() -> None:
    reference, changed = features()
    everything = torch.cat([reference[:, None], changed], dim=1)[:40].double()
    moved = []
    for i in range(40):
        for j in range(i):
            cosines = torch.nn.functional.cosine_similarity(everything[i], everything[j])
            moved.append((cosines[1:] - cosines[0]).abs())
    metric = SimilarityShift(CHANGES)
    metric.update(reference[:40], changed[:40])
    torch.testing.assert_close(metric.compute()["mean"], torch.stack(moved).mean(dim=0), atol=1e-6, rtol=0)


def test_batches_and_their_order_change_no_digit() -> None:
    assert said([list(range(N))]) == said([list(range(i, N, 7)) for i in (4, 2, 0, 1, 3, 6, 5)])


def _on_ranks(rank: int, world_size: int) -> list[list[float]]:
    warnings.simplefilter("ignore")  # a rank without images computes before it was updated, on purpose
    shards = ([[list(range(1, 9)), list(range(9, N))], [[0]]], [[], [list(range(N))]])
    return [said(shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = said([list(range(N))])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_lengths_do_not_matter_and_features_of_zeros_are_like_nothing() -> None:
    reference, _ = features()
    metric = SimilarityShift(2)
    metric.update(reference, torch.stack([3 * reference, 0 * reference], dim=1))
    longer, nothing = metric.compute()["mean"].tolist()
    assert longer == pytest.approx(0, abs=1e-6)
    own = SimilarityShift(1)
    own.update(0 * reference, reference[:, None])
    assert nothing == pytest.approx(own.compute()["mean"].item())


def test_more_pairs_than_64_bits_hold_in_fixed_point() -> None:
    """16 500 images have 136 million pairs, each with a change of 1."""
    metric = SimilarityShift(1)
    axes = torch.eye(2)
    metric.update(axes[:1].expand(16500, 2), axes[torch.zeros(16500, dtype=torch.int64)][:, None] * 0)
    assert metric.compute()["mean"].item() == 1


@pytest.mark.parametrize("wrong", ["reference", "changed"])
def test_features_that_are_not_finite_are_refused(wrong: str) -> None:
    given = {"reference": torch.ones(3, 2), "changed": torch.ones(3, 1, 2)}
    given[wrong][2] = torch.nan
    with pytest.raises(ValueError, match=r"features holds NaN or infinite values in images \[2\] of the batch"):
        SimilarityShift(1).update(**given)


def test_one_image_has_no_pair() -> None:
    metric = SimilarityShift(1)
    metric.update(torch.ones(1, WIDTH), torch.ones(1, 1, WIDTH))
    assert metric.compute()["mean"].isnan().all()
