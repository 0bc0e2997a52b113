"""Areas under curves that can be drawn by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics import Comprehensiveness, InsertionDeletion, ProbabilityDrop, Sufficiency
from maskexp.metrics.functional import comprehensiveness, insertion_deletion, probability_drop, sufficiency
from maskexp.metrics.functional.insertion_deletion import Direction

WEIGHTS = torch.tensor([0.4, 0.3, 0.2, 0.1])
ORDER, REVERSED = WEIGHTS.view(1, 2, 2), -WEIGHTS.view(1, 2, 2)
IMAGE, TARGET = torch.ones(1, 3, 2, 2), torch.tensor([1])


def linear(images: Tensor, visible: Tensor) -> Tensor:
    """The probability of class 1 is the weight of what can be seen."""
    seen = (visible.flatten(1) * WEIGHTS.double()).sum(dim=1)
    return torch.stack([1 - seen, seen], dim=1).clamp(min=0).log()


@pytest.mark.parametrize(
    ("direction", "order", "curve", "area"),
    [
        ("deletion", ORDER, [1, 0.6, 0.3, 0.1, 0], 0.375),
        ("insertion", ORDER, [0, 0.4, 0.7, 0.9, 1], 0.625),
        ("deletion", REVERSED, [1, 0.9, 0.7, 0.4, 0], 0.625),
        ("insertion", REVERSED, [0, 0.1, 0.3, 0.6, 1], 0.375),
    ],
)
def test_linear_model(direction: Direction, order: Tensor, curve: list[float], area: float) -> None:
    fraction, probability = insertion_deletion(linear, IMAGE, order, TARGET, direction=direction, steps=4)
    assert probability.tolist() == pytest.approx(curve, abs=1e-7)
    assert torch.trapezoid(probability, fraction).item() == pytest.approx(area, abs=1e-7)
    metric = InsertionDeletion(direction, steps=4)
    metric.update(linear, IMAGE, order, TARGET)
    assert metric.compute().item() == pytest.approx(area, abs=1e-7)
    assert metric.curve()[1].tolist() == pytest.approx(curve, abs=1e-7)


def test_three_points() -> None:
    """[1, .5, 0] has the area .5."""

    def half(images: Tensor, visible: Tensor) -> Tensor:
        seen = visible.double().mean(dim=(1, 2, 3))
        return torch.stack([1 - seen, seen], dim=1).log()

    metric = InsertionDeletion("deletion", steps=2)
    metric.update(half, IMAGE, ORDER, TARGET)
    assert metric.curve()[1].tolist() == pytest.approx([1, 0.5, 0])
    assert metric.compute().item() == pytest.approx(0.5)


def test_area_of_the_mean_is_the_mean_of_the_areas() -> None:
    both = InsertionDeletion("deletion", steps=4)
    both.update(linear, IMAGE.repeat(2, 1, 1, 1), torch.cat([ORDER, REVERSED]), TARGET.repeat(2))
    assert both.compute().item() == pytest.approx((0.375 + 0.625) / 2, abs=1e-7)


def test_a_row_of_224_is_a_step_and_odd_sizes_stay_within_half_a_pixel() -> None:
    visible_pixels = []

    def count(images: Tensor, visible: Tensor) -> Tensor:
        visible_pixels.append(int(visible[0].sum()))
        return torch.zeros(len(images), 2)

    metric = InsertionDeletion("insertion")
    metric.update(count, torch.zeros(1, 3, 224, 224), torch.rand(1, 224, 224), TARGET)
    assert visible_pixels == list(range(0, 224 * 224 + 1, 224))
    visible_pixels.clear()
    InsertionDeletion("insertion", steps=4).update(count, torch.zeros(1, 3, 5, 5), torch.rand(1, 5, 5), TARGET)
    assert visible_pixels == [0, 6, 12, 19, 25]


def test_comprehensiveness_and_sufficiency_of_the_linear_model() -> None:
    assert comprehensiveness(linear, IMAGE, ORDER, TARGET, shares=[0.5]).item() == pytest.approx(0.7, abs=1e-7)
    assert sufficiency(linear, IMAGE, ORDER, TARGET, shares=[0.5]).item() == pytest.approx(0.3, abs=1e-7)
    without, alone = Comprehensiveness([0.25, 0.5]), Sufficiency([0.25, 0.5])
    for metric in (without, alone):
        metric.update(linear, IMAGE, ORDER, TARGET)
    assert without.curve()[1].tolist() == pytest.approx([0.4, 0.7], abs=1e-7)
    assert alone.curve()[1].tolist() == pytest.approx([0.6, 0.3], abs=1e-7)
    assert (without.compute().item(), alone.compute().item()) == pytest.approx((0.55, 0.45), abs=1e-7)


def test_nothing_and_everything() -> None:
    for metric in (Comprehensiveness, Sufficiency):
        none_at_all, everything = metric([0.0]), metric([1.0])
        for each in (none_at_all, everything):
            each.update(linear, IMAGE, ORDER, TARGET)
        values = (none_at_all.compute().item(), everything.compute().item())
        assert values == pytest.approx((0, 1) if metric is Comprehensiveness else (1, 0), abs=1e-7)


def test_probability_drop_of_softmax_scores() -> None:
    whole, masked = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    expected = (0 + torch.sigmoid(torch.tensor(2.0)) - torch.sigmoid(torch.tensor(-2.0))) / 2
    target = torch.tensor([1, 0])
    assert probability_drop(whole, masked, target).item() == pytest.approx(expected.item(), abs=1e-6)
    metric = ProbabilityDrop()
    metric.update(whole, masked, target)
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-6)


def test_no_image_is_no_number() -> None:
    nothing = (torch.zeros(0, 3, 2, 2), torch.zeros(0, 2, 2), torch.zeros(0, dtype=torch.int64))
    for metric in (InsertionDeletion("insertion", 2), Comprehensiveness(), Sufficiency()):
        metric.update(linear, *nothing)
        assert metric.compute().isnan()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="'insertion' or 'deletion'"):
        InsertionDeletion("removal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps has to be at least 1, not 0"):
        InsertionDeletion("insertion", 0)
    with pytest.raises(ValueError, match="different numbers"):
        Sufficiency([])
    with pytest.raises(ValueError, match="do not fit"):
        Comprehensiveness().update(linear, IMAGE, ORDER, TARGET.repeat(2))
    with pytest.raises(ValueError, match=r"\(B, K\) with one class each"):
        ProbabilityDrop().update(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))
