"""Sufficiency and comprehensiveness over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.pixel_selection import Classify, validated_shares
from maskexp.metrics.functional.sufficiency import SHARES, Shown, drop_per_share

__all__ = ["Comprehensiveness", "Sufficiency"]


class _MeanDrop(Metric):
    """Sum of each image's loss of probability at every share."""

    is_differentiable = False
    full_state_update = False
    shown: ClassVar[Shown]

    drop: Tensor
    count: Tensor

    def __init__(self, shares: Sequence[float] = SHARES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shares = validated_shares(shares)
        self.add_state("drop", torch.zeros(len(self.shares), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, classify: Classify, images: Tensor, attribution: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            classify: ``(images, visible) -> logits``, called once for each share and once for the whole images.
            images: ``(B, C, H, W)``, whatever ``classify`` takes.
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
            target: ``(B,)`` class whose probability is meant: the predicted one in ERASER.
        """
        drops = drop_per_share(classify, images, attribution, target, self.shares, self.shown)
        self.drop += to_fixed_point(drops).sum(dim=0)
        self.count += len(drops)

    def compute(self) -> Tensor:
        """Return the mean over images and shares as a scalar; NaN where there is no image."""
        return mean_of_fixed_point(self.drop, self.count).mean()

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return the ``(S,)`` shares and the mean at each, over all ranks; call it on all ranks."""
        with self.sync_context(should_sync=self.sync_on_compute):
            drops = mean_of_fixed_point(self.drop, self.count)
        return drops.new_tensor(self.shares), drops


class Comprehensiveness(_MeanDrop):
    """Mean loss of probability without the top share of pixels, over several shares, in [-1, 1]; higher is better.

    Formula and source are those of :func:`maskexp.metrics.functional.comprehensiveness`.

    Args:
        shares: of the pixels of an image, each in [0, 1].
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if a share is wrong.

    Example:
        >>> import torch
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> metric = Comprehensiveness(shares=[0.5])
        >>> metric.update(classify, torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.7000, dtype=torch.float64)
    """

    higher_is_better = True
    shown = "rest"


class Sufficiency(_MeanDrop):
    """Mean loss of probability with nothing but the top share of pixels, in [-1, 1]; lower is better.

    Formula and source are those of :func:`maskexp.metrics.functional.sufficiency`.

    Args:
        shares: of the pixels of an image, each in [0, 1].
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if a share is wrong.

    Example:
        >>> import torch
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> metric = Sufficiency(shares=[0.5])
        >>> metric.update(classify, torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.3000, dtype=torch.float64)
    """

    higher_is_better = False
    shown = "selected"
