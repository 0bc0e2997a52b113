"""Rivals that are scored on the same images: their means, and how often each is the best."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.inputs import check_finite, to_real

__all__ = ["PairedComparison"]


class PairedComparison(Metric):
    """Mean score of each rival and its win rate: the share of images on which its score is the best.

    Rivals that share the best score share the win (ours).

    Args:
        rivals: their number R.
        highest_wins: whether the highest score is the best, or the lowest.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = PairedComparison(rivals=2)
        >>> metric.update(torch.tensor([[0.5, 0.25], [1.0, 1.0]]))
        >>> {name: value.tolist() for name, value in metric.compute().items()}
        {'mean': [0.75, 0.625], 'win_rate': [0.75, 0.25], 'n': 2}
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor
    wins: Tensor
    count: Tensor

    def __init__(self, rivals: int, *, highest_wins: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.highest_wins = highest_wins
        for state in ("total", "wins"):
            self.add_state(state, torch.zeros(rivals, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor) -> None:
        """Add the finite scores of a batch, ``(B, R)``, below 2**27 in magnitude."""
        check_finite(scores, "a score")
        scores = to_fixed_point(scores)
        best = scores.amax(dim=1, keepdim=True) if self.highest_wins else scores.amin(dim=1, keepdim=True)
        winners = scores == best
        self.total += scores.sum(dim=0)
        self.wins += to_fixed_point(to_real(winners) / winners.sum(dim=1, keepdim=True)).sum(dim=0)
        self.count += len(scores)

    def compute(self) -> dict[str, Tensor]:
        """Return ``mean`` and ``win_rate``, ``(R,)`` each, NaN before the first image, and the number of images."""
        return {
            "mean": mean_of_fixed_point(self.total, self.count),
            "win_rate": mean_of_fixed_point(self.wins, self.count),
            "n": self.count.clone(),
        }
