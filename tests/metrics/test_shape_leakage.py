"""Leakage against plain counting, on one process and on two."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics.shape_leakage import ShapeLeakage
from tests.distributed import run_ranks

IMAGES = 12


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    object_hidden, broken_hidden, label = torch.randint(0, 3, (3, IMAGES), generator=generator)
    return object_hidden, broken_hidden, label


def filled(batches: list[list[int]]) -> dict[str, float]:
    metric = ShapeLeakage(4)
    for batch in batches:
        metric.update(*(values[batch] for values in drawn()))
    values = {name: value.item() for name, value in metric.compute().items()}
    for number, of_class in metric.per_class(2).items():
        values |= {f"{name}/{number}": value.item() for name, value in of_class.items()}
    return values


def test_rates_are_what_counting_by_hand_gives() -> None:
    values, rows = filled([list(range(IMAGES))]), list(zip(*(v.tolist() for v in drawn()), strict=True))
    for number in (None, 0, 1, 2):
        members = [row for row in rows if number is None or row[2] == number]
        under_object, under_broken = (sum(row[i] == row[2] for row in members) for i in (0, 1))
        suffix = "" if number is None else f"/{number}"
        assert values[f"acc_object{suffix}"] == pytest.approx(under_object / len(members))
        assert values[f"acc_broken{suffix}"] == pytest.approx(under_broken / len(members))
        assert values[f"indicator{suffix}"] == pytest.approx(under_object / under_broken)
        assert values[f"n{suffix}"] == len(members)
    assert "n/3" not in values


def test_a_class_needs_more_images_than_the_limit() -> None:
    metric = ShapeLeakage(2)
    metric.update(torch.zeros(13).long(), torch.zeros(13).long(), torch.tensor([0] * 11 + [1] * 2))
    assert list(metric.per_class()) == [0]
    assert list(metric.per_class(11)) == []


def test_no_hit_under_the_broken_mask_leaves_the_indicator_undefined() -> None:
    metric = ShapeLeakage(2)
    metric.update(torch.tensor([0]), torch.tensor([1]), torch.tensor([0]))
    assert metric.compute()["indicator"].isnan()


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4, 1, 9, 10], [8, 0]], [[2, 3, 5, 6, 7, 11]]], [[], [list(range(IMAGES))]])
    return [filled(shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = filled([[i] for i in range(IMAGES)])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]
