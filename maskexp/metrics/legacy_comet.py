"""Localisation scores as the released code of COMET computes them, over a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.legacy_comet import (
    area_of_half_steps,
    average_precision_of_legacy_histograms,
    legacy_comet_half_steps,
    legacy_comet_histograms,
    validated_edges,
    validated_steps,
)
from maskexp.metrics.functional.pixel_average_precision import prepare_pixels, warn_if_undefined

__all__ = ["LegacyCometAveragePrecision", "LegacyCometIoUAUC"]


class LegacyCometAveragePrecision(Metric):
    """What COMET's released evaluation prints as PxAP; to be compared with its published tables and nothing else.

    How it differs from pixel average precision, range and source are told at
    :func:`maskexp.metrics.functional.legacy_comet_average_precision`.

    Args:
        edges: 20 for COMET, 40 for its baselines.
        normalize: stretch each map to [0, 1] first, which the released code does for some of its baselines.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if ``edges`` is below 2.

    Example:
        >>> import torch
        >>> from maskexp.metrics import PixelAveragePrecision
        >>> attribution = torch.tensor([[[0.9] * 5 + [0.01] * 5 + [0.02] * 90]])
        >>> foreground = torch.tensor([[[True] * 10 + [False] * 90]])
        >>> legacy, standard = LegacyCometAveragePrecision(), PixelAveragePrecision()
        >>> legacy(attribution, foreground), standard(attribution, foreground)
        (tensor(1., dtype=torch.float64), tensor(0.5500, dtype=torch.float64))
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    histograms: Tensor

    def __init__(self, edges: int = 20, *, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.edges = validated_edges(edges)
        self.normalize = normalize
        self.add_state("histograms", torch.zeros(2, edges - 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], or any finite numbers if ``normalize``.
            foreground: bool, same size.
            has_foreground: ``(B,)`` bool; all True where not given.
        """
        pixels = prepare_pixels(attribution, foreground, has_foreground, None, normalize=self.normalize)
        self.histograms += legacy_comet_histograms(*pixels, self.edges)

    def compute(self) -> Tensor:
        """Return the score in [0, 1] as a scalar; NaN with a warning where no foreground pixel is above the lowest."""
        return warn_if_undefined(average_precision_of_legacy_histograms(self.histograms))


class LegacyCometIoUAUC(Metric):
    """What COMET's released evaluation calls the area under the IoU curve: the mean IoU plus half a step.

    Formula, range and source are told at :func:`maskexp.metrics.functional.legacy_comet_iou_auc`.

    Args:
        threshold: scores above it are selected; the released code picks it by hand for each method (COMET 0.9).
        steps: number of steps of the curve.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if ``steps`` is not positive.

    Example:
        >>> import torch
        >>> metric = LegacyCometIoUAUC(threshold=0.9)
        >>> metric.update(torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0]]]), torch.ones(1, 1, 5, dtype=torch.bool))
        >>> metric.compute()
        tensor(0.4000, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    half_steps: Tensor
    count: Tensor

    def __init__(self, threshold: float, steps: int = 20000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.steps = validated_steps(steps)
        for state in ("half_steps", "count"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None = None) -> None:
        """Add a batch: attribution in [0, 1] and foreground, ``(B, 1, H, W)`` or ``(B, H, W)``, and which exist."""
        half_steps, present = legacy_comet_half_steps(
            attribution, foreground, has_foreground, self.threshold, self.steps
        )
        self.half_steps += (half_steps * present).sum()
        self.count += present.sum()

    def compute(self) -> Tensor:
        """Return the area in [0, 1] as a scalar; NaN where there is no image."""
        return area_of_half_steps(self.half_steps, self.count, self.steps)
