"""Mean loss of probability over a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.probability import drop_per_image

__all__ = ["ProbabilityDrop"]


class ProbabilityDrop(Metric):
    """Mean loss of probability of a class when a part of the image is hidden, in [-1, 1].

    Formula and source are those of :func:`maskexp.metrics.functional.probability_drop`: a soft sufficiency where what
    the mask keeps is shown (lower is better), a soft comprehensiveness where its complement is (higher is better).

    Args:
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = ProbabilityDrop()
        >>> metric.update(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.6, 0.4]]).log(), torch.tensor([0]))
        >>> metric.update(torch.tensor([[0.2, 0.8]]).log(), torch.tensor([[0.2, 0.8]]).log(), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.1500, dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False

    drop: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("drop", "count"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, whole: Tensor, masked: Tensor, target: Tensor) -> None:
        """Add a batch: ``(B, K)`` logits of whole and of masked images, and the ``(B,)`` class that is meant."""
        drops = drop_per_image(whole, masked, target)
        self.drop += to_fixed_point(drops).sum()
        self.count += len(drops)

    def compute(self) -> Tensor:
        """Return the mean loss as a scalar; NaN where there is no image."""
        return mean_of_fixed_point(self.drop, self.count)
