"""BG-Gap over the two variants of a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.bg_gap import count_by_variant, gap_of_counts

__all__ = ["BGGap"]


class BGGap(Metric):
    """Accuracy on backgrounds of the same class minus accuracy on backgrounds of a random one.

    Formula, range and source are those of :func:`maskexp.metrics.functional.bg_gap`. The images of the two variants may
    come in any order.

    Args:
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = BGGap()
        >>> metric.update(torch.tensor([0, 1]), torch.tensor([0, 1]), foreign=torch.tensor([False, False]))
        >>> metric.update(torch.tensor([0, 0]), torch.tensor([0, 1]), foreign=torch.tensor([True, True]))
        >>> {name: value.item() for name, value in metric.compute().items()}
        {'bg_gap': 0.5, 'acc_mixed_same': 1.0, 'acc_mixed_rand': 0.5, 'n_mixed_same': 2, 'n_mixed_rand': 2}
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    correct: Tensor
    total: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("correct", "total"):
            self.add_state(state, torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, label: Tensor, foreign: Tensor) -> None:
        """Count a batch: ``(B,)`` classes or ``(B, K)`` scores, ``(B,)`` labels, ``(B,)`` bool foreign backgrounds."""
        correct, total = count_by_variant(predicted, label, foreign)
        self.correct += correct
        self.total += total

    def compute(self) -> dict[str, Tensor]:
        """Return gap, accuracies and numbers of images by name; NaN where a variant has no image."""
        return gap_of_counts(self.correct, self.total)
