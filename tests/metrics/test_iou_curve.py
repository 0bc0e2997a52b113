"""IoU at one and at all thresholds."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import IoUAtThreshold, IoUCurve
from maskexp.metrics.functional import iou_curve
from tests.metrics.maps import row, two_ramps


@pytest.mark.parametrize(
    ("image", "area", "best", "threshold", "at_half"),
    [(0, 0.154495, 0.272727, 0.82, 0.191489), (1, 0.270225, 0.397959, 0.42, 0.356322)],
)
def test_single_maps(image: int, area: float, best: float, threshold: float, at_half: float) -> None:
    maps, foreground = (argument[image : image + 1] for argument in two_ramps())
    curve, half = IoUCurve(), IoUAtThreshold(0.5)
    curve.update(maps, foreground)
    half.update(maps, foreground)
    result = curve.compute()
    assert result["iou_auc"].item() == pytest.approx(area, abs=1e-6)
    assert result["iou_best"].item() == pytest.approx(best, abs=1e-6)
    assert result["iou_best_threshold"].item() == pytest.approx(threshold, abs=1e-12)
    assert half.compute().item() == pytest.approx(at_half, abs=1e-6)


def test_mean_curve() -> None:
    maps, foreground = two_ramps()
    metric = IoUCurve()
    metric.update(maps, foreground)
    assert metric.compute()["iou_auc"].item() == pytest.approx(0.212360, abs=1e-6)
    thresholds, iou = metric.curve()
    expected_thresholds, expected = iou_curve(maps, foreground)
    assert torch.equal(thresholds, expected_thresholds)
    assert torch.allclose(iou, expected, atol=1e-10)
    chosen = IoUAtThreshold(metric.compute()["iou_best_threshold"].item())
    chosen.update(maps, foreground)
    assert chosen.compute() == metric.compute()["iou_best"]


def test_equal_scores_are_selected_only_if_inclusive() -> None:
    scores, foreground = row(0.5, 0.5, 0.25, 0.0), row(1, 0, 0, 0).bool()
    _, strict = iou_curve(scores, foreground, thresholds=[0.0, 0.25, 0.5, 1.0])
    _, inclusive = iou_curve(scores, foreground, thresholds=[0.0, 0.25, 0.5, 1.0], inclusive=True)
    assert strict.tolist() == pytest.approx([1 / 3, 1 / 2, 0, 0])
    assert inclusive.tolist() == pytest.approx([1 / 4, 1 / 3, 1 / 2, 0])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.999])
def test_binary_mask_has_one_iou(threshold: float) -> None:
    metric = IoUAtThreshold(threshold)
    metric.update(row(1, 1, 0, 0, 0), row(0, 1, 1, 0, 0).bool())
    assert metric.compute().item() == pytest.approx(1 / 3, abs=1e-10)


def test_normalized_maps_may_hold_any_numbers() -> None:
    maps, foreground = two_ramps()
    low, high = maps.flatten(1).aminmax(dim=1)
    stretched = (maps - low[:, None, None]) / (high - low)[:, None, None]
    _, expected = iou_curve(stretched, foreground)
    _, curve = iou_curve(4 * stretched, foreground, normalize=True)
    assert torch.equal(curve, expected)


def test_images_without_foreground_are_skipped_and_counted() -> None:
    maps, foreground = two_ramps()
    maps, foreground = maps[[0, 1, 1]], foreground[[0, 1, 1]].clone()
    foreground[2] = False
    metric = IoUAtThreshold(0.5)
    metric.update(maps, foreground, torch.tensor([True, False, True]))
    assert metric.compute().item() == pytest.approx(0.191489, abs=1e-6)
    assert (metric.count, metric.skipped) == (1, 2)


def test_nothing_counted_is_nan() -> None:
    metric = IoUCurve()
    metric.update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool))
    assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.parametrize("thresholds", [1, [], [0.5, 0.5], [0.5, 0.2], [-0.1, 0.5], [0.5, 1.1]])
def test_thresholds_have_to_ascend(thresholds: object) -> None:
    with pytest.raises(ValueError, match="threshold"):
        IoUCurve(thresholds)  # type: ignore[arg-type]


def test_scores_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match=r"has to lie in \[0, 1\]"):
        IoUCurve().update(row(0.5, 1.5), row(1, 0).bool())
