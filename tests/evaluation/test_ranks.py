"""However the images are split over batches and ranks, the evaluations of attributions say the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from maskexp.evaluation import (
    Evaluation,
    Fidelity,
    InsertionAndDeletion,
    LegacyCometLocalization,
    Localization,
    NoiseRobustness,
    SufficiencyAndComprehensiveness,
)
from tests.distributed import run_ranks
from tests.evaluation.doubles import Explained, answers, count, named, noisy

EVALUATIONS: dict[str, Callable[[], Evaluation]] = {
    "fidelity": lambda: Fidelity(hiding=["grey", "blur"]),
    "insertion": lambda: InsertionAndDeletion(steps=3),
    "legacy": lambda: LegacyCometLocalization(threshold=0.5),
    "localization": Localization,
    "noise": NoiseRobustness,
    "sufficiency": SufficiencyAndComprehensiveness,
}
WHOLE = [list(range(7))]
SHARDINGS = {  # by name, the batches of each of the two ranks
    "unequal": [[[6, 1], [3]], [[0, 5], [2], [4]]],
    "rank without images": [[], [[0, 1, 2], [3, 4, 5], [6]]],
}


@pytest.mark.parametrize("name", sorted(EVALUATIONS))
def test_batches_do_not_matter(name: str) -> None:
    whole = answers(EVALUATIONS[name](), WHOLE)
    assert answers(EVALUATIONS[name](), [[6, 2, 0], [1, 5], [4, 3]]) == pytest.approx(whole, abs=1e-6)
    assert len(whole) > 5


@pytest.mark.parametrize("name", sorted(EVALUATIONS))
def test_reset_forgets_everything(name: str) -> None:
    evaluation = EVALUATIONS[name]()
    first = answers(evaluation, [[0, 1, 2]])
    evaluation.reset()
    count(evaluation, noisy(), [[4, 5, 6]], Explained())
    second = named(evaluation.compute())
    assert second == answers(EVALUATIONS[name](), [[4, 5, 6]])
    assert second != first


def _on_ranks(rank: int, world_size: int) -> dict[str, dict[str, dict[str, float]]]:
    warnings.simplefilter("ignore")  # a rank without images computes before it was updated, on purpose
    return {
        sharding: {name: answers(make(), batches[rank]) for name, make in EVALUATIONS.items()}
        for sharding, batches in SHARDINGS.items()
    }


def test_two_ranks_say_what_one_process_says() -> None:
    ranks = run_ranks(_on_ranks, 2, timeout=120)
    assert ranks[0] == ranks[1]
    for name, make in EVALUATIONS.items():
        whole = answers(make(), WHOLE)
        for sharding in SHARDINGS:
            assert ranks[0][sharding][name] == pytest.approx(whole, abs=1e-6), (name, sharding)
