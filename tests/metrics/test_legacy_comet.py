"""The released evaluation of COMET, reproduced with its peculiarities (values in percent)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics import LegacyCometAveragePrecision, LegacyCometIoUAUC
from maskexp.metrics.functional import legacy_comet_average_precision, legacy_comet_iou_auc
from tests.metrics.maps import row, two_ramps

FIFTH = torch.arange(100).view(1, 10, 10) < 20


def percent(maps: Tensor, foreground: Tensor, edges: int) -> float:
    metric = LegacyCometAveragePrecision(edges)
    metric.update(maps, foreground)
    result = legacy_comet_average_precision(maps, foreground, edges=edges)
    assert metric.compute() == result
    return 100 * result.item()


@pytest.mark.parametrize("edges", [20, 40])
def test_eight_pixels_as_the_released_code_counts_them(edges: int) -> None:
    scores, truth = row(0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1), row(1, 1, 0, 1, 0, 0, 1, 0).bool()
    assert percent(scores, truth, edges) == pytest.approx(83.035714, abs=1e-6)


@pytest.mark.parametrize(("edges", "expected"), [(20, 45.744522), (40, 47.712701)])
def test_two_ramps_as_the_released_code_counts_them(edges: int, expected: float) -> None:
    assert percent(*two_ramps(), edges) == pytest.approx(expected, abs=1e-6)


def test_a_map_of_zeros_is_ignored() -> None:
    maps, foreground = two_ramps()
    maps = maps * torch.tensor([1.0, 0.0])[:, None, None]
    assert percent(maps, foreground, 20) == pytest.approx(39.280305, abs=1e-6)
    assert percent(maps[:1], foreground[:1], 20) == pytest.approx(39.280305, abs=1e-6)


def test_constant_maps() -> None:
    assert percent(torch.full((1, 10, 10), 0.5), FIFTH, 20) == pytest.approx(20.0, abs=1e-9)
    assert percent(torch.ones(1, 10, 10), FIFTH, 20) == pytest.approx(19.998, abs=1e-6)


def test_perfect_map_is_not_quite_perfect() -> None:
    assert percent(FIFTH.double(), FIFTH, 20) == pytest.approx(99.990001, abs=1e-6)


@pytest.mark.parametrize("maps", [torch.zeros(1, 10, 10), (~FIFTH).double()])
def test_no_foreground_above_the_lowest_edge_is_nan(maps: Tensor) -> None:
    with pytest.warns(UserWarning, match="undefined"):
        assert legacy_comet_average_precision(maps, FIFTH).isnan()


def test_low_scores_vanish_and_methods_are_treated_unequally() -> None:
    foreground = torch.arange(1000).view(1, 1, -1) < 100
    scores = torch.tensor([0.9] * 50 + [0.01] * 50 + [0.02] * 900).view(1, 1, -1)
    assert [percent(scores, foreground, edges) for edges in (20, 40)] == pytest.approx([100, 100], abs=1e-9)
    scores = torch.tensor([0.9] * 60 + [0.03] * 40 + [0.6] * 45 + [0.03] * 855).view(1, 1, -1)
    assert [percent(scores, foreground, edges) for edges in (20, 40)] == pytest.approx([100, 64], abs=1e-6)


@pytest.mark.parametrize(
    ("ious", "coarse", "fine"),
    [
        ([0.2, 0.5, 0.8], 0.525, 0.500025),
        ([0.5], 0.525, 0.500025),
        ([0.0], 0.025, 2.5e-5),
        ([1.0], 1.0, 1.0),
        ([0.123, 0.456, 0.789, 0.999], 0.5875, 0.591775),  # 0.59176 in floating point, which misses a step of the grid
    ],
)
def test_area_is_the_mean_iou_plus_half_a_step(ious: list[float], coarse: float, fine: float) -> None:
    selected = (torch.arange(1000)[None, None] < torch.tensor(ious)[:, None, None] * 1000 - 0.5).double()
    foreground = torch.ones(len(ious), 1, 1000, dtype=torch.bool)
    for steps, expected in [(20, coarse), (20000, fine)]:
        metric = LegacyCometIoUAUC(0.5, steps)
        metric.update(selected, foreground)
        assert metric.compute().item() == pytest.approx(expected, abs=1e-12)
        assert metric.compute() == legacy_comet_iou_auc(selected, foreground, threshold=0.5, steps=steps)


def test_an_empty_union_fails_at_every_step() -> None:
    nothing = torch.zeros(2, 2, 2)
    foreground = torch.tensor([[[True, True], [True, True]], [[False, False], [False, False]]])
    assert legacy_comet_iou_auc(nothing, foreground, threshold=0.5, steps=20).item() == 0.0125  # 0.025 and 0


def test_images_without_ground_truth_are_left_out() -> None:
    present = torch.tensor([False, True])
    maps, foreground = two_ramps()
    metrics = LegacyCometAveragePrecision(), LegacyCometIoUAUC(0.5)
    for metric in metrics:
        metric.update(maps, foreground, present)
    assert metrics[0].compute() == legacy_comet_average_precision(maps[1:], foreground[1:])
    assert metrics[1].compute() == legacy_comet_iou_auc(maps[1:], foreground[1:], threshold=0.5)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="edges has to be at least 2"):
        LegacyCometAveragePrecision(1)
    with pytest.raises(ValueError, match="steps has to be at least 1"):
        LegacyCometIoUAUC(0.5, 0)
