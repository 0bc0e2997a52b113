"""Pointing game: tolerance, ties and classes."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import PointingGame
from maskexp.metrics.functional import pointing_game

PEAK = torch.zeros(1, 1, 41, 41)
PEAK[0, 0, 20, 20] = 1.0


def spot(row: int, column: int) -> torch.Tensor:
    foreground = torch.zeros(1, 1, 41, 41, dtype=torch.bool)
    foreground[0, 0, row, column] = True
    return foreground


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(20, 20, 1), (20, 34, 1), (20, 35, 0), (29, 32, 0), (29, 31, 1), (8, 11, 0), (6, 20, 1), (5, 20, 0)],
)
def test_fifteen_pixels_are_too_far(row: int, column: int, hit: int) -> None:
    assert pointing_game(PEAK, spot(row, column)).item() == hit


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (1.01, 1), (2, 1)])
def test_distance_is_strictly_below_the_tolerance(tolerance: float, hit: int) -> None:
    assert pointing_game(PEAK, spot(20, 21), tolerance=tolerance).item() == hit
    assert pointing_game(PEAK, spot(20, 20), tolerance=tolerance).item() == 1  # zero included


def test_ties_are_the_expected_hit_of_a_random_pick() -> None:
    mask = torch.tensor([[[0.0, 1.0, 1.0, 1.0, 1.0]]])
    foreground = torch.tensor([[[False, False, False, False, True]]])
    assert pointing_game(mask, foreground, tolerance=0).item() == 0.25
    assert pointing_game(mask, foreground, tolerance=2).item() == 0.5
    assert pointing_game(mask, foreground, tolerance=2, ties="first").item() == 0
    assert pointing_game(mask.flip(-1), foreground.flip(-1), tolerance=2, ties="first").item() == 1


def test_constant_map_scores_the_area() -> None:
    foreground = torch.arange(100).view(1, 1, 10, 10) < 30
    assert pointing_game(torch.zeros(1, 1, 10, 10), foreground, tolerance=0).item() == pytest.approx(0.3)


def test_classes_weigh_the_same_and_missing_ones_are_left_out() -> None:
    metric = PointingGame(num_classes=3, tolerance=0)
    attribution = PEAK.expand(4, 1, 41, 41)
    foreground = torch.cat([spot(20, 20), spot(20, 20), spot(20, 20), spot(0, 0)])
    metric.update(attribution, foreground, label=torch.tensor([0, 0, 0, 2]))
    result = metric.compute()
    assert result["pointing_game"].item() == pytest.approx(0.75, abs=1e-10)
    assert result["pointing_game_class_mean"].item() == pytest.approx(0.5, abs=1e-10)


def test_images_without_foreground_are_skipped_and_counted() -> None:
    metric = PointingGame()
    foreground = torch.cat([spot(20, 20), spot(20, 20), torch.zeros_like(PEAK, dtype=torch.bool)])
    metric.update(PEAK.expand(3, 1, 41, 41), foreground, torch.tensor([True, False, True]))
    assert {name: value.item() for name, value in metric.compute().items()} == {"pointing_game": 1.0}
    assert (metric.count.item(), metric.skipped) == (1, 2)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        PointingGame(tolerance=-1)
    with pytest.raises(ValueError, match="'mean' or 'first'"):
        PointingGame(ties="last")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs one label for each of 1 images"):
        PointingGame(2).update(PEAK, spot(0, 0))
    with pytest.raises(ValueError, match=r"labels have to lie in 0…1, but reach from 2 to 2"):
        PointingGame(2).update(PEAK, spot(0, 0), label=torch.tensor([2]))
