"""Missingness curves against plain counting, on one process and on two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskexp.metrics.functional.missingness import class_entropy
from maskexp.metrics.missingness import MissingnessCurve
from tests.distributed import run_ranks

CLASSES, STEPS, IMAGES = 5, 3, 9


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Predictions (S, B), references (B,) and labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randint(0, CLASSES, (STEPS, IMAGES), generator=generator)
    return predicted, predicted[0], torch.randint(0, CLASSES, (IMAGES,), generator=generator)


def similarity() -> Tensor:
    return torch.rand(CLASSES, CLASSES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def filled(batches: list[list[int]]) -> MissingnessCurve:
    metric = MissingnessCurve(CLASSES, STEPS, similarity())
    predicted, reference, label = drawn()
    for batch in batches:
        metric.update(predicted[:, batch], reference[batch], label[batch])
    return metric


def numbers(metric: MissingnessCurve) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in metric.compute().items()}


def test_a_curve_is_what_counting_by_hand_gives() -> None:
    predicted, reference, label = (values.tolist() for values in drawn())
    alike = similarity().tolist()
    values = numbers(filled([list(range(IMAGES))]))
    for step, classes in enumerate(predicted):
        shares = [classes.count(c) / IMAGES for c in range(CLASSES)]
        assert values["acc"][step] == pytest.approx(
            sum(a == b for a, b in zip(classes, label, strict=True)) / IMAGES, abs=1e-12
        )
        assert values["unchanged"][step] == pytest.approx(
            sum(a == b for a, b in zip(classes, reference, strict=True)) / IMAGES, abs=1e-12
        )
        assert values["similarity"][step] == pytest.approx(
            sum(alike[a][b] for a, b in zip(classes, label, strict=True)) / IMAGES, abs=1e-9
        )
        assert values["class_entropy"][step] == pytest.approx(-sum(p * math.log(p + 1e-7) for p in shares), abs=1e-12)


def test_entropy_of_all_classes_alike_and_of_one() -> None:
    assert class_entropy(torch.ones(1000)).item() == pytest.approx(6.908, abs=1e-3)  # ln 1000, the maximum
    assert class_entropy(torch.tensor([0, 7])).item() == pytest.approx(0, abs=1e-6)
    assert class_entropy(torch.zeros(3)).isnan()


@pytest.mark.parametrize("batches", [[[i] for i in range(IMAGES)], [[8, 0, 3], [], [1, 2, 7, 6], [5, 4]]])
def test_batches_do_not_change_a_bit(batches: list[list[int]]) -> None:
    assert numbers(filled(batches)) == numbers(filled([list(range(IMAGES))]))


def _on_ranks(rank: int, world_size: int) -> list[dict[str, list[float]]]:
    shards = ([[[4, 1], [8, 0]], [[2, 3, 5, 6, 7]]], [[], [list(range(IMAGES))]])
    return [numbers(filled(shard[rank])) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = numbers(filled([list(range(IMAGES))]))
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_without_a_matrix_there_is_no_similarity() -> None:
    metric = MissingnessCurve(CLASSES, STEPS)
    metric.update(*drawn())
    assert set(metric.compute()) == {"acc", "class_entropy", "unchanged"}
    assert metric.state_dict() == {}


def test_a_matrix_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="3 classes need a similarity matrix of as many rows"):
        MissingnessCurve(3, 1, similarity())
