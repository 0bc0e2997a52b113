"""Energy pointing game against the examples of its sources."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import EnergyPointingGame
from maskexp.metrics.functional import energy_pointing_game

ATTRIBUTION = torch.tensor([[[1.0, 2.0, -3.0], [4.0, -5.0, 0.0], [0.0, 0.0, 3.0]]])
CORNER = torch.zeros(1, 3, 3, dtype=torch.bool)
CORNER[:, :2, :2] = True


def counts(summary: dict[str, torch.Tensor]) -> tuple[int, ...]:
    return tuple(int(summary[name]) for name in ("epg_images", "epg_undefined", "epg_skipped"))


def test_only_positive_attribution_counts() -> None:
    assert energy_pointing_game(ATTRIBUTION, CORNER).item() == pytest.approx(0.7, abs=1e-12)


def test_right_column_of_a_two_by_two_map() -> None:
    foreground = torch.tensor([[[False, True], [False, True]]])
    assert energy_pointing_game(torch.tensor([[[1, 3], [0, 0]]]), foreground).item() == 0.75


def test_constant_map_scores_the_area() -> None:
    foreground = torch.arange(100).view(1, 1, 10, 10) < 30
    metric = EnergyPointingGame()
    metric.update(torch.full((1, 1, 10, 10), 0.2), foreground)
    assert metric.compute().item() == pytest.approx(0.3, abs=1e-10)
    assert metric.summary()["epg_baseline"].item() == pytest.approx(0.3, abs=1e-10)


@pytest.mark.parametrize("nothing", [torch.zeros(1, 3, 3), -ATTRIBUTION.abs()])
def test_map_without_positive_attribution(nothing: torch.Tensor) -> None:
    attribution, foreground = torch.cat([ATTRIBUTION, nothing]), torch.cat([CORNER, CORNER])
    assert energy_pointing_game(nothing, CORNER).item() == 0.0
    counted, defined = EnergyPointingGame(), EnergyPointingGame(defined_only=True)
    counted.update(attribution, foreground)
    defined.update(attribution, foreground)
    assert counted.compute().item() == pytest.approx(0.35, abs=1e-10)
    assert defined.compute().item() == pytest.approx(0.7, abs=1e-10)
    assert energy_pointing_game(attribution, foreground, defined_only=True).item() == pytest.approx(0.7, abs=1e-12)
    for metric, images in [(counted, 2), (defined, 1)]:
        summary = metric.summary()
        assert counts(summary) == (images, 1, 0)
        assert summary["epg"] == metric.compute()
        assert summary["epg_baseline"].item() == pytest.approx(4 / 9, abs=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_scale_does_not_matter(scale: float) -> None:
    assert energy_pointing_game(ATTRIBUTION.double() * scale, CORNER).item() == pytest.approx(0.7, abs=1e-12)


def test_full_and_empty_foreground() -> None:
    foreground = torch.stack([torch.ones(3, 3), torch.zeros(3, 3)]).bool()
    attribution = ATTRIBUTION.expand(2, 3, 3)
    assert energy_pointing_game(attribution, foreground, reduction="none").tolist() == [1.0, 0.0]
    metric = EnergyPointingGame()
    metric.update(attribution, foreground)
    assert metric.compute() == 1.0
    assert metric.summary()["epg_skipped"] == 1


def test_overlapping_boxes_count_once() -> None:
    boxes = torch.zeros(2, 3, 3, dtype=torch.bool)
    boxes[0, :2, :2] = True
    boxes[1, :, :2] = True
    union = boxes.any(dim=0, keepdim=True)
    assert energy_pointing_game(ATTRIBUTION, union).item() == pytest.approx(0.7, abs=1e-12)


def test_absent_empty_and_too_large_foregrounds_are_skipped_and_counted() -> None:
    foreground = torch.cat([CORNER, CORNER, torch.zeros_like(CORNER), torch.ones_like(CORNER)])
    has_foreground = torch.tensor([True, False, True, True])
    attribution = ATTRIBUTION.repeat(4, 1, 1)
    attribution[1] = 0  # skipped, hence not undefined
    metric = EnergyPointingGame(max_area=0.99)
    metric.update(attribution, foreground, has_foreground)
    summary = metric.summary()
    assert summary["epg"].item() == pytest.approx(0.7, abs=1e-10)
    assert summary["epg_baseline"].item() == pytest.approx(4 / 9, abs=1e-10)
    assert counts(summary) == (1, 0, 3)


def test_nothing_counted_is_nan() -> None:
    metric = EnergyPointingGame()
    metric.update(ATTRIBUTION, torch.zeros_like(CORNER))
    assert metric.compute().isnan()
    assert energy_pointing_game(ATTRIBUTION, torch.zeros_like(CORNER)).isnan()


def test_one_cell_of_a_coarse_mask_upsampled_by_nearest_is_exact() -> None:
    cell = torch.zeros(1, 1, 7, 7)
    cell[..., 2, 3] = 1
    foreground = torch.zeros(1, 1, 224, 224, dtype=torch.bool)
    foreground[..., 64:96, 96:128] = True
    nearest = torch.nn.functional.interpolate(cell, size=(224, 224), mode="nearest")
    bilinear = torch.nn.functional.interpolate(cell, size=(224, 224), mode="bilinear", align_corners=False)
    assert energy_pointing_game(nearest, foreground).item() == 1.0
    assert energy_pointing_game(bilinear, foreground).item() == pytest.approx(0.5625, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_attribution_that_is_not_finite_is_refused(value: float) -> None:
    attribution = ATTRIBUTION.clone()
    attribution[0, 0, 0] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        EnergyPointingGame().update(attribution, CORNER)


@pytest.mark.parametrize("max_area", [0.0, 1.5])
def test_max_area_is_a_share(max_area: float) -> None:
    with pytest.raises(ValueError, match="max_area"):
        EnergyPointingGame(max_area=max_area)
