"""Mean area of masks over a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.mean_area import area_per_image

__all__ = ["MeanArea"]


class MeanArea(Metric):
    """Mean share of an image that its mask selects, in [0, 1]; see :func:`maskexp.metrics.functional.mean_area`.

    Args:
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = MeanArea()
        >>> metric.update(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
        >>> metric.update(torch.tensor([[[[1.0, 1.0], [0.5, 0.0]]]]))
        >>> metric.compute()
        tensor(0.4375, dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False

    area: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("area", "count"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mask: Tensor) -> None:
        """Add a batch of masks, ``(B, 1, H, W)`` or ``(B, H, W)``, with values in [0, 1]."""
        areas = area_per_image(mask)
        self.area += to_fixed_point(areas).sum()
        self.count += len(areas)

    def compute(self) -> Tensor:
        """Return the mean share as a scalar; NaN before the first image."""
        return mean_of_fixed_point(self.area, self.count)
