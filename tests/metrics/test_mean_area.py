"""Mean area of masks."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import MeanArea
from maskexp.metrics.functional import mean_area


def test_every_image_weighs_the_same() -> None:
    metric = MeanArea()
    metric.update(torch.ones(1, 1, 2, 2, dtype=torch.bool))
    metric.update(torch.zeros(3, 1, 8, 8))
    assert metric.compute().item() == 0.25


def test_no_image_is_nan() -> None:
    metric = MeanArea()
    metric.update(torch.zeros(0, 1, 4, 4))
    assert metric.compute().isnan()


def test_a_mask_of_logits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask has to lie in \[0, 1\], but ranges from -2 to 3"):
        mean_area(torch.tensor([[[-2.0, 3.0]]]))


def test_more_pixels_than_float32_can_count() -> None:
    metric = MeanArea()
    for _ in range(3):
        metric.update(torch.ones(1, 4097, 4097, dtype=torch.bool))
    assert metric.compute().item() == 1.0
