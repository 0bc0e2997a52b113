"""Areas that are found while a network is trained: weights under a constraint, and a target that follows validation."""

from __future__ import annotations

import math

import pytest
import torch

from maskexp.masking.area_control import AreaMultiplier, AreaTarget


def test_the_weight_of_an_area_rises_while_its_constraint_holds_and_falls_while_it_does_not() -> None:
    multiplier = AreaMultiplier(2, margin=0.1, speed=0.5, momentum=0.0)
    multiplier.update(torch.tensor([1.0, 1.3]), torch.tensor([1.0, 1.0]))
    assert multiplier.weights.tolist() == pytest.approx([math.exp(0.5), math.exp(-0.5)])
    multiplier.update(torch.tensor([1.15, 1.0]), torch.tensor([1.0, 1.0]))
    assert multiplier.weights.tolist() == pytest.approx([math.exp(0.25), 1.0])


def test_the_constraint_is_a_moving_average() -> None:
    multiplier = AreaMultiplier(1, margin=0.1, momentum=0.75)
    for loss in (1.5, 1.1):
        multiplier.update(torch.tensor([loss]), torch.tensor([1.0]))
    assert multiplier.constraint.item() == pytest.approx(0.75 * 0.25 * 0.4 + 0.25 * 0.0)


def test_the_weight_of_an_area_stays_between_its_bounds() -> None:
    multiplier = AreaMultiplier(1, margin=0.1, speed=100.0, momentum=0.0)
    for loss, weight in ((0.0, 1e3), (9.0, 1e-3)):
        multiplier.update(torch.tensor([loss]), torch.tensor([1.0]))
        assert multiplier.weights.item() == pytest.approx(weight)
    multiplier.update(torch.tensor([0.0]), torch.tensor([1.0]), largest=2.0)
    assert multiplier.weights.item() == pytest.approx(2.0)


def test_the_least_area_within_the_margin_is_found() -> None:
    """Of losses (1 - r)², a margin of 0.09 allows the area 0.7, where the weight is 2 · 0.3."""
    multiplier = AreaMultiplier(1, margin=0.09, speed=0.02, momentum=0.9)
    area = torch.tensor([1.0], requires_grad=True)
    optimizer = torch.optim.SGD([area], lr=0.1)
    for _ in range(2000):
        loss = (1 - area) ** 2
        (multiplier.weights * area + loss).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        multiplier.update(loss.detach(), torch.zeros(1))
    assert area.item() == pytest.approx(0.7, abs=0.01)
    assert multiplier.weights.item() == pytest.approx(0.6, abs=0.03)


def test_a_target_falls_geometrically_while_it_is_annealed() -> None:
    target = AreaTarget()
    assert [target.at(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, math.sqrt(0.05), 0.05])


def test_a_target_falls_within_a_standard_error_of_the_best_accuracy_and_rises_below_it() -> None:
    target = AreaTarget()
    target.update(0.9, 100, epoch=1)  # the highest so far: it falls
    assert target.at(1) == pytest.approx(0.05 * math.exp(-0.1))
    target.update(0.871, 100, epoch=2)  # a standard error of 0.9 on 100 images is 0.03
    assert target.at(1) == pytest.approx(0.05 * math.exp(-0.2))
    target.update(0.869, 100, epoch=3)
    assert target.at(1) == pytest.approx(0.05 * math.exp(0.1))
    finer = AreaTarget()
    finer.update(0.9, 400, epoch=1)
    finer.update(0.871, 400, epoch=2)  # of four times as many images it is half as large
    assert finer.at(1) == pytest.approx(0.05 * math.exp(0.2))
    tolerant = AreaTarget(tolerance=2.0)
    for epoch, accuracy in enumerate((0.9, 0.85), start=1):
        tolerant.update(accuracy, 100, epoch)
    assert tolerant.at(1) == pytest.approx(0.05 * math.exp(-0.2))


def test_a_target_changes_by_the_epochs_since_the_validation_before_not_by_the_number_of_validations() -> None:
    often, once = AreaTarget(), AreaTarget()
    for step in range(1, 5):
        often.update(0.9, 100, epoch=2 + step / 4, annealed=2)
    once.update(0.9, 100, epoch=3, annealed=2)
    assert often.at(1) == pytest.approx(once.at(1)) == pytest.approx(0.05 * math.exp(-0.1))


def test_what_was_validated_while_the_target_was_annealed_only_sets_the_standard() -> None:
    target = AreaTarget()
    target.update(0.9, 100, epoch=1, annealed=2)
    target.update(0.5, 100, epoch=2, annealed=2)
    assert target.at(1) == pytest.approx(0.05)
    target.update(0.6, 100, epoch=3, annealed=2)
    assert target.at(1) == pytest.approx(0.05 * math.exp(0.3))


def test_a_target_that_rose_above_the_area_of_the_best_accuracy_goes_back_to_it() -> None:
    target = AreaTarget()
    target.update(0.9, 100, epoch=2, annealed=4)
    target.update(0.5, 100, epoch=4, annealed=4)
    best = math.sqrt(math.sqrt(0.05))  # of the second of the four epochs
    areas = []
    for epoch in range(5, 17):
        target.update(0.5, 100, epoch, annealed=4)
        areas.append(target.at(1))
    assert areas[:8] == pytest.approx([0.05 * math.exp(0.3 * rises) for rises in range(1, 9)])
    assert areas[8:] == pytest.approx([best, best * math.exp(0.3), best, best * math.exp(0.3)])


def test_the_area_does_not_run_away_where_larger_masks_lose_accuracy() -> None:
    """As those do that take in a misleading scene: 0.9 at an area of 0.1, less above it and below."""
    target, areas = AreaTarget(), []
    for epoch in range(1, 101):
        area = target.at(1)
        target.update(0.9 - 0.3 * abs(math.log(area / 0.1)), 1000, epoch)
        areas.append(area)
    assert min(areas[20:]) > 0.07
    assert max(areas) < 0.15


def test_a_target_stays_between_its_bounds() -> None:
    target = AreaTarget()
    target.update(0.9, 100, epoch=1, annealed=2)  # with the whole image
    target.update(0.9, 100, epoch=100, annealed=2)
    assert target.at(1) == pytest.approx(0.01)
    whole = AreaTarget()
    whole.update(0.9, 100, epoch=1, annealed=2)
    whole.update(0.5, 100, epoch=200, annealed=2)
    assert whole.at(1) == 1.0


def test_a_target_goes_on_from_a_checkpoint_and_from_one_that_did_not_keep_the_best_area() -> None:
    target = AreaTarget()
    for epoch, accuracy in enumerate((0.9, 0.8), start=1):
        target.update(accuracy, 100, epoch)
    kept = target.get_extra_state()
    assert AreaTarget.upgraded(kept) is kept
    for state, area in ((kept, 0.05), (kept[:3], target.area * math.exp(0.3))):
        other = AreaTarget()
        other.set_extra_state(AreaTarget.upgraded(state))
        other.update(0.5, 100, epoch=3)
        assert other.at(1) == pytest.approx(area)


def test_the_size_is_found_below_which_accuracy_is_lost() -> None:
    """An accuracy of 0.9 from an area of 0.2 on, and less below, in proportion."""
    target, areas = AreaTarget(), []
    for epoch in range(1, 101):
        area = target.at(1)
        target.update(0.9 * min(area / 0.2, 1.0), 1000, epoch)
        areas.append(area)
    assert sum(areas[50:]) / 50 == pytest.approx(0.2, abs=0.04)


def test_weights_are_learned_in_float32_where_the_network_is_bfloat16() -> None:
    multiplier = AreaMultiplier(1, margin=0.1, speed=0.01, momentum=0.0).to(torch.bfloat16)
    multiplier.log_weight.fill_(4.0)  # the next bfloat16 is 4.03
    multiplier.update(torch.tensor([0.0]), torch.tensor([0.0]))
    assert multiplier.log_weight.item() == pytest.approx(4.01)


def test_a_target_is_the_same_where_the_network_is_bfloat16() -> None:
    target = AreaTarget().to(torch.bfloat16)
    for epoch in range(300, 303):
        target.update(0.9, 100, epoch, annealed=299)
    assert target.at(1) == pytest.approx(0.05 * math.exp(-0.3))
