"""Accuracy over groups of label × attribute, exact over batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.group_accuracy import (
    group_accuracy_compute,
    group_accuracy_update,
    validated_group_names,
)

__all__ = ["GroupAccuracy"]


class GroupAccuracy(Metric):
    """Plain, worst-group, adjusted and group-mean accuracy, and the accuracy of every group with its size.

    Formulas, sources and keys are those of :func:`maskexp.metrics.functional.group_accuracy`. Hits and samples are
    counted as integers and divided once at the end, so that neither uneven batches nor uneven ranks matter.

    Args:
        num_groups: number of groups; 0 where the data has none, which leaves ``acc`` alone.
        train_group_counts: training samples per group, the weights of ``acc_adjusted``.
        group_names: names for the keys; without them groups are called 0, 1, … .
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if the numbers of groups, names and counts disagree.

    Example:
        >>> import torch
        >>> metric = GroupAccuracy(2, train_group_counts=[90, 10])
        >>> metric.update(torch.tensor([0, 0, 1]), label=torch.tensor([0, 0, 1]), group=torch.tensor([0, 0, 1]))
        >>> metric.update(torch.tensor([1]), label=torch.tensor([0]), group=torch.tensor([1]))
        >>> result = metric.compute()
        >>> result["acc"].item(), result["acc_worst_group"].item(), result["n_group/1"].item()
        (0.75, 0.5, 2)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    correct: Tensor
    total: Tensor

    def __init__(
        self,
        num_groups: int,
        train_group_counts: Sequence[int] | None = None,
        group_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if group_names is not None and len(group_names) != num_groups:
            raise ValueError(f"{num_groups} groups need as many names, not {list(group_names)}")
        self.group_names = validated_group_names(num_groups if group_names is None else group_names, train_group_counts)
        self.train_group_counts = train_group_counts
        for state in ("correct", "total"):
            self.add_state(state, torch.zeros(num_groups + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, label: Tensor, group: Tensor) -> None:
        """Count a batch: ``(B,)`` classes or ``(B, K)`` scores, ``(B,)`` labels, ``(B,)`` groups (-1 for none)."""
        correct, total = group_accuracy_update(predicted, label, group, len(self.group_names))
        self.correct += correct
        self.total += total

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies by name; ``acc_group/<name>`` is missing for a group without samples."""
        return group_accuracy_compute(self.correct, self.total, self.group_names, self.train_group_counts)
