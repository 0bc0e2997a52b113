"""What the localisation metrics accept and what they refuse, and sums that do not depend on the order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics import EnergyPointingGame, PixelAveragePrecision
from maskexp.metrics.functional.fixed_point import from_fixed_point, mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.inputs import real_dtype

METRICS = [EnergyPointingGame, PixelAveragePrecision]
MAPS = torch.full((2, 1, 4, 4), 0.5)
FOREGROUND = torch.ones(2, 1, 4, 4, dtype=torch.bool)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((MAPS, FOREGROUND.float()), "bool tensor, not torch.float32; threshold"),
        ((MAPS[..., :2], FOREGROUND), r"shape \(2, 4, 4\), but the attribution has \(2, 4, 2\); resize"),
        ((MAPS.expand(2, 3, 4, 4), FOREGROUND), r"attribution has to be \(B, 1, H, W\) or \(B, H, W\), not \(2, 3"),
        ((MAPS[0, 0], FOREGROUND), "attribution has to be"),
        ((MAPS, FOREGROUND[0, 0]), "foreground has to be"),
        ((MAPS, FOREGROUND, torch.ones(2)), r"has_foreground has to be a bool tensor of shape \(2,\)"),
        ((MAPS, FOREGROUND, torch.ones(3, dtype=torch.bool)), "has_foreground has to be"),
    ],
)
def test_shapes_and_types_that_do_not_fit(metric: type[Metric], inputs: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric().update(*inputs)


@pytest.mark.parametrize("metric", METRICS)
def test_channel_axis_makes_no_difference(metric: type[Metric]) -> None:
    foreground = torch.arange(32).view(2, 1, 4, 4) % 3 == 0
    with_channel, without = metric(), metric()
    with_channel.update(MAPS, foreground)
    without.update(MAPS[:, 0], foreground[:, 0])
    assert with_channel.compute() == without.compute()


@pytest.mark.parametrize("metric", METRICS)
def test_refused_batch_leaves_the_state_alone(metric: type[Metric]) -> None:
    one = metric()
    one.update(MAPS, FOREGROUND)
    before = one.compute()
    with pytest.raises(ValueError, match="NaN"):
        one.update(MAPS * float("nan"), FOREGROUND)
    one._computed = None
    assert one.compute() == before


def test_fixed_point_is_exact_in_any_order() -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    units = to_fixed_point(values)
    assert units.sum() == units.flip(0).cumsum(0)[-1]
    assert (from_fixed_point(units) - values).abs().max() <= 2**-37
    assert mean_of_fixed_point(units.sum(), torch.tensor(1000)).item() == pytest.approx(values.mean().item(), abs=1e-11)


def test_fixed_point_has_room_for_a_hundred_million_images() -> None:
    assert from_fixed_point(to_fixed_point(torch.ones(())) * 100_000_000) == 1e8


def test_widest_type_of_a_device() -> None:
    assert real_dtype(torch.device("cpu")) == real_dtype(torch.device("cuda")) == torch.float64
    assert real_dtype(torch.device("mps")) == torch.float32
