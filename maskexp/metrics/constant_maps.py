"""How many attribution maps say nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.inputs import finite_maps

__all__ = ["ConstantMaps"]


class ConstantMaps(Metric):
    """Number of maps that have one value everywhere, zeros for instance, so that they prefer no pixel to another.

    What is made of such a map depends on the metric (EPG counts zeros as 0, PxAP as the prevalence, fidelity removes
    pixels from the upper left), which is why they have to be counted beside it.

    Example:
        >>> metric = ConstantMaps()
        >>> metric.update(torch.tensor([[[0.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]]))
        >>> metric.compute()
        tensor(2)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attribution: Tensor, *_: Any) -> None:
        """Add maps ``(B, 1, H, W)`` or ``(B, H, W)`` of any finite numbers; further arguments are ignored."""
        maps = finite_maps(attribution).flatten(1)
        if maps.numel():
            low, high = maps.aminmax(dim=1)
            self.count += (low == high).sum()

    def compute(self) -> Tensor:
        """Return the number as int64."""
        return self.count.clone()
