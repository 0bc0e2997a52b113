"""Pointing game over a data set, per image and per class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.pointing_game import Ties, pointing_hits, validated_tolerance

__all__ = ["PointingGame"]


class PointingGame(Metric):
    """Share of images whose highest attribution lies on, or near, the foreground.

    Formula, range and source are those of :func:`maskexp.metrics.functional.pointing_game`. The literature averages
    over classes; images without foreground are skipped and counted in ``skipped``.

    Args:
        num_classes: number of classes for the mean over classes; 0 for none, and labels are not needed.
        tolerance: pixels; 0 asks for a foreground pixel itself.
        ties: ``mean`` or ``first`` of several highest pixels.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if the tolerance is negative or ``ties`` unknown.

    Example:
        >>> import torch
        >>> metric = PointingGame(num_classes=2, tolerance=0)
        >>> attribution = torch.tensor([[[0.1, 0.9]], [[0.8, 0.7]], [[0.5, 0.5]]])
        >>> foreground = torch.tensor([[[False, True]], [[True, False]], [[True, False]]])
        >>> metric.update(attribution, foreground, label=torch.tensor([0, 0, 1]))
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items()}
        {'pointing_game': 0.8333, 'pointing_game_class_mean': 0.75}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    hits: Tensor
    count: Tensor
    skipped: Tensor

    def __init__(self, num_classes: int = 0, *, tolerance: float = 15, ties: Ties = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if ties not in ("mean", "first"):
            raise ValueError(f"ties is 'mean' or 'first', not {ties!r}")
        self.num_classes = num_classes
        self.tolerance = validated_tolerance(tolerance)
        self.ties = ties
        for state in ("hits", "count"):
            self.add_state(state, torch.zeros(max(num_classes, 1), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("skipped", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        attribution: Tensor,
        foreground: Tensor,
        has_foreground: Tensor | None = None,
        label: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers.
            foreground: bool, same size.
            has_foreground: ``(B,)`` bool; all True where not given.
            label: ``(B,)`` class indices; needed if, and only if, there is a mean over classes.
        """
        hit, usable = pointing_hits(attribution, foreground, has_foreground, self.tolerance, self.ties)
        label = self._checked(label, usable)
        self.hits.index_add_(0, label, to_fixed_point(hit) * usable)
        self.count.index_add_(0, label, usable.to(torch.int64))
        self.skipped += (~usable).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``pointing_game``, the mean over images, and with classes ``pointing_game_class_mean``.

        Classes without images are left out; NaN where no image counted.
        """
        result = {"pointing_game": mean_of_fixed_point(self.hits.sum(), self.count.sum())}
        if self.num_classes:
            result["pointing_game_class_mean"] = mean_of_fixed_point(self.hits, self.count).nanmean()
        return result

    def _checked(self, label: Tensor | None, usable: Tensor) -> Tensor:
        if not self.num_classes:
            return torch.zeros_like(usable, dtype=torch.int64)
        if label is None or label.shape != usable.shape:
            raise ValueError(f"a mean over {self.num_classes} classes needs one label for each of {len(usable)} images")
        if label.numel():
            low, high = torch.stack(torch.aminmax(label)).tolist()
            if low < 0 or high >= self.num_classes:
                raise ValueError(f"labels have to lie in 0…{self.num_classes - 1}, but reach from {low} to {high}")
        return label
