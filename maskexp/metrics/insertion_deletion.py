"""Insertion and deletion over a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.insertion_deletion import (
    STEPS,
    Direction,
    fractions_of_steps,
    probability_per_step,
    validated_direction,
    validated_steps,
)
from maskexp.metrics.functional.pixel_selection import Classify

__all__ = ["InsertionDeletion"]


class InsertionDeletion(Metric):
    """Area under the probability of a class while pixels appear or vanish in the order of the attribution.

    Formula, range and source are those of :func:`maskexp.metrics.functional.insertion_deletion`. The state is the sum
    of all curves; the area under their mean is the mean of their areas.

    Args:
        direction: ``insertion`` (higher is better) or ``deletion`` (lower is better).
        steps: equal steps from no pixel to all of them; the classifier runs ``steps + 1`` times.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if the direction or the number of steps is wrong.

    Example:
        >>> import torch
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> metric = InsertionDeletion("insertion", steps=4)
        >>> metric.update(classify, torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.6250, dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False

    probability: Tensor
    count: Tensor

    def __init__(self, direction: Direction, steps: int = STEPS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.direction = validated_direction(direction)
        self.steps = validated_steps(steps)
        self.add_state("probability", torch.zeros(steps + 1, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether pixels are inserted."""
        return self.direction == "insertion"

    def update(self, classify: Classify, images: Tensor, attribution: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            classify: ``(images, visible) -> logits``, called ``steps + 1`` times.
            images: ``(B, C, H, W)``, whatever ``classify`` takes.
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
            target: ``(B,)`` class whose probability is meant.
        """
        probability = probability_per_step(classify, images, attribution, target, self.direction, self.steps)
        self.probability += to_fixed_point(probability).sum(dim=0)
        self.count += len(probability)

    def compute(self) -> Tensor:
        """Return the area in [0, 1] as a scalar; NaN where there is no image."""
        curve = mean_of_fixed_point(self.probability, self.count)
        return torch.trapezoid(curve, fractions_of_steps(self.steps).to(curve))

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return the ``(steps + 1,)`` fractions and the mean probability at each, over all ranks; call it on all."""
        with self.sync_context(should_sync=self.sync_on_compute):
            curve = mean_of_fixed_point(self.probability, self.count)
        return fractions_of_steps(self.steps).to(curve), curve
