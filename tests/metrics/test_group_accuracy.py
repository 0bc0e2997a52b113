"""Accuracy over groups: WaterBirds' numbers and the ways in which other implementations go wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics import GroupAccuracy
from maskexp.metrics.functional import group_accuracy

TEST_COUNTS = (2255, 2255, 642, 642)
TRAIN_95 = (3498, 184, 56, 1057)
TRAIN_100 = (3694, 0, 0, 1101)
NAMES = ("land_on_land", "land_on_water", "water_on_land", "water_on_water")
GROUP = torch.repeat_interleave(torch.arange(4), torch.tensor(TEST_COUNTS))
LABEL = GROUP // 2


def values(result: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in result.items()}


def test_waterbirds_worked_example() -> None:
    correct = [round(a * n) for a, n in zip((0.99, 0.80, 0.74, 0.95), TEST_COUNTS, strict=True)]
    first = torch.cat([torch.arange(n) < c for n, c in zip(TEST_COUNTS, correct, strict=True)])
    predicted = torch.where(first, LABEL, 1 - LABEL)
    result = values(group_accuracy(predicted, LABEL, GROUP, NAMES, TRAIN_95))
    assert result["acc_worst_group"] == pytest.approx(0.740, abs=5e-4)
    assert result["acc"] == pytest.approx(0.8838, abs=5e-5)
    assert result["acc_adjusted"] == pytest.approx(0.9709, abs=5e-5)
    assert result["acc_group_mean"] == pytest.approx(0.8700, abs=2e-4)
    assert values(group_accuracy(predicted, LABEL, GROUP, NAMES, TRAIN_100))["acc_adjusted"] == pytest.approx(
        0.9807, abs=5e-5
    )
    assert {name: result[f"n_group/{name}"] for name in NAMES} == dict(zip(NAMES, TEST_COUNTS, strict=True))


def test_constant_classifier() -> None:
    result = values(group_accuracy(torch.zeros_like(LABEL), LABEL, GROUP, 4))
    assert result["acc"] == pytest.approx(0.7784, abs=5e-5)
    assert [result[f"acc_group/{g}"] for g in range(4)] == [1, 1, 0, 0]
    assert result["acc_worst_group"] == 0


def test_classifier_of_the_place() -> None:
    result = values(group_accuracy(GROUP % 2, LABEL, GROUP, 4))
    assert [result[f"acc_group/{g}"] for g in range(4)] == [1, 0, 0, 1]
    assert (result["acc"], result["acc_worst_group"]) == (0.5, 0)


def test_uneven_batches_are_not_averaged() -> None:
    predicted, label, group = torch.tensor([1, 0, 0, 0]), torch.tensor([1, 1, 0, 0]), torch.tensor([1, 1, 0, 1])
    metric = GroupAccuracy(2)
    metric.update(predicted[:1], label[:1], group[:1])
    metric.update(predicted[1:], label[1:], group[1:])
    assert metric.compute()["acc_worst_group"].item() == pytest.approx(2 / 3)


def test_batch_of_a_single_group_is_booked_to_that_group() -> None:
    metric = GroupAccuracy(3)
    metric.update(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1, 1]))
    assert metric.total.tolist() == [0, 2, 0, 0]
    assert metric.correct.tolist() == [0, 1, 0, 0]


def test_missing_group_warns_and_is_left_out() -> None:
    predicted, label, group = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]), torch.tensor([0, 2, 2])
    with pytest.warns(UserWarning, match="no sample of group b"):
        result = values(group_accuracy(predicted, label, group, ["a", "b", "c"], [60, 30, 20]))
    assert result["acc_worst_group"] == 0.5
    assert result["acc_group_mean"] == 0.75
    assert result["acc_adjusted"] == pytest.approx((60 * 1 + 20 * 0.5) / 80)
    assert "acc_group/b" not in result
    assert result["n_group/b"] == 0


def test_samples_without_a_group_count_in_the_plain_accuracy_only() -> None:
    result = values(group_accuracy(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), torch.tensor([0, -1, -1]), 1))
    assert result["acc"] == pytest.approx(1 / 3)
    assert (result["acc_worst_group"], result["n_group/0"]) == (1, 1)


def test_adjusted_accuracy_needs_a_group_that_was_trained_on() -> None:
    predicted, label, group = torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([0, 1])
    assert group_accuracy(predicted, label, group, 2, [0, 0])["acc_adjusted"].isnan()
    with pytest.warns(UserWarning, match="no sample of group 2"):
        assert group_accuracy(predicted, label, group, 3, [0, 0, 5])["acc_adjusted"].isnan()
    assert group_accuracy(predicted, label, group, 2, [0, 5])["acc_adjusted"] == 0


def test_no_groups_at_all() -> None:
    none = torch.tensor([-1, -1])
    assert values(group_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), none, 0)) == {"acc": 0.5}
    with pytest.warns(UserWarning, match="no sample of group 0, 1"):
        result = group_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), none, 2, [1, 1])
    assert result["acc"] == 0.5
    assert all(result[name].isnan() for name in ("acc_worst_group", "acc_group_mean", "acc_adjusted"))


def test_scores_are_accepted_in_place_of_classes() -> None:
    scores = torch.tensor([[2.0, 1.0], [0.1, 0.7]])
    assert group_accuracy(scores, torch.tensor([0, 0]), torch.tensor([0, 1]), 2)["acc"] == 0.5


@pytest.mark.parametrize("group", [[0, 2], [-2, 0]])
def test_group_out_of_range_is_refused(group: list[int]) -> None:
    with pytest.raises(ValueError, match=r"group indices have to lie in -1…1, but reach from"):
        GroupAccuracy(2).update(torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor(group))


def test_inputs_that_do_not_fit_are_refused() -> None:
    two, three = torch.tensor([0, 0]), torch.tensor([0, 0, 0])
    with pytest.raises(ValueError, match="of one length"):
        GroupAccuracy(2).update(two, three, three)
    with pytest.raises(ValueError, match="class indices or"):
        GroupAccuracy(2).update(torch.tensor([0.3, 0.9]), two, two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_groups": 2, "group_names": ["a"]}, "2 groups need as many names"),
        ({"num_groups": 2, "group_names": ["a", "a"]}, "distinct"),
        ({"num_groups": 2, "train_group_counts": [1]}, "as many training counts"),
        ({"num_groups": 2, "train_group_counts": [2, -1]}, "≥ 0, but are"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GroupAccuracy(**arguments)  # type: ignore[arg-type]
