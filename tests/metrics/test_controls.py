"""Control attributions, and what the metrics say of them."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import CONTROLS, EnergyPointingGame, IoUCurve, MaxBoxAccuracy, PixelAveragePrecision, PointingGame
from maskexp.metrics.controls import Control, control_attribution

ROWS, COLUMNS = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
CENTRES = [(10, 12), (16, 16), (20, 18), (16, 13)]
FOREGROUND = torch.stack([((ROWS - r) ** 2 + (COLUMNS - c) ** 2 < 49)[None] for r, c in CENTRES])
INDEX = torch.tensor([3, 0, 17, 100_000])
AREA = FOREGROUND.double().mean().item()


def attribution(control: Control) -> torch.Tensor:
    return control_attribution(control, FOREGROUND, INDEX)


@pytest.mark.parametrize("control", CONTROLS)
def test_shape_type_and_range(control: Control) -> None:
    maps = attribution(control)
    assert (maps.shape, maps.dtype) == (FOREGROUND.shape, torch.float32)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert control_attribution(control, FOREGROUND[:0], INDEX[:0]).shape == (0, 1, 32, 32)


@pytest.mark.parametrize("control", CONTROLS)
def test_batches_do_not_matter(control: Control) -> None:
    torch.manual_seed(1)
    single = [control_attribution(control, FOREGROUND[i : i + 1], INDEX[i : i + 1]) for i in range(4)]
    assert torch.equal(torch.cat(single), attribution(control))


def test_random_differs_by_image_and_by_seed_and_is_uniform() -> None:
    maps = attribution("random")
    assert (maps[0] != maps[1]).float().mean() > 0.99
    assert (maps != control_attribution("random", FOREGROUND, INDEX, seed=1)).float().mean() > 0.99
    assert maps.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("control", ["random", "constant"])
def test_ignorance_scores_the_area(control: Control) -> None:
    tolerance = 0.02 if control == "random" else 1e-9
    energy, precision = EnergyPointingGame(), PixelAveragePrecision()
    energy.update(attribution(control), FOREGROUND)
    precision.update(attribution(control), FOREGROUND)
    assert energy.compute().item() == pytest.approx(AREA, abs=tolerance)
    assert precision.compute().item() == pytest.approx(AREA, abs=tolerance)


def test_ground_truth_scores_the_maximum() -> None:
    for metric in (EnergyPointingGame(), PixelAveragePrecision()):
        metric.update(attribution("ground_truth"), FOREGROUND)
        assert metric.compute() == 1
    for metric in (PointingGame(tolerance=0), MaxBoxAccuracy("v1"), MaxBoxAccuracy("v2")):
        metric.update(attribution("ground_truth"), FOREGROUND)
        assert all(value == 1 for value in metric.compute().values())
    curve = IoUCurve()
    curve.update(attribution("ground_truth"), FOREGROUND)
    assert curve.compute()["iou_best"] == 1


def test_centre_lies_between() -> None:
    maps = attribution("centred_gaussian")
    assert torch.equal(maps, maps.flip(-1))
    assert torch.equal(maps, maps.flip(-2))
    precision = PixelAveragePrecision()
    precision.update(maps, FOREGROUND)
    assert AREA + 0.1 < precision.compute() < 0.99


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one of random, centred_gaussian, constant, ground_truth, not 'noise'"):
        control_attribution("noise", FOREGROUND, INDEX)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"not \(4, 32, 32\) and \(4,\)"):
        control_attribution("random", FOREGROUND[:, 0], INDEX)
