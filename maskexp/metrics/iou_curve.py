"""Intersection over union of attribution and foreground over a data set, at one or at all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.inputs import unit_maps
from maskexp.metrics.functional.iou_curve import iou_per_image, threshold_steps

__all__ = ["IoUAtThreshold", "IoUCurve"]


class _MeanIoU(Metric):
    """Sum of each image's IoU at every threshold."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    iou: Tensor
    count: Tensor
    skipped: Tensor

    def __init__(self, thresholds: Tensor, *, inclusive: bool, normalize: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thresholds = thresholds
        self.inclusive = inclusive
        self.normalize = normalize
        self.add_state("iou", torch.zeros(len(thresholds), dtype=torch.int64), dist_reduce_fx="sum")
        for state in ("count", "skipped"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], or any finite numbers if ``normalize``.
            foreground: bool, same size.
            has_foreground: ``(B,)`` bool; all True where not given.
        """
        maps = unit_maps(attribution, normalize=self.normalize)
        iou, usable = iou_per_image(maps, foreground, has_foreground, self.thresholds, inclusive=self.inclusive)
        self.iou += (to_fixed_point(iou) * usable[:, None]).sum(dim=0)
        self.count += usable.sum()
        self.skipped += (~usable).sum()


class IoUCurve(_MeanIoU):
    """Mean IoU of the binarised attribution over all thresholds: area under the curve, and its best point.

    Formula, range and source are those of :func:`maskexp.metrics.functional.iou_curve`. Images whose foreground is
    absent or empty are skipped and counted in ``skipped``. The best threshold is for *validation* data: report
    :class:`IoUAtThreshold` with it on the test data.

    Args:
        thresholds: their number, evenly from 0 to 1, or themselves, ascending.
        inclusive: select scores that equal the threshold as well.
        normalize: stretch each map to [0, 1] first.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if the thresholds do not ascend in [0, 1].

    Example:
        >>> import torch
        >>> metric = IoUCurve(thresholds=[0.1, 0.5, 0.8])
        >>> metric.update(
        ...     torch.tensor([[[0.9, 0.6], [0.2, 0.0]]]), torch.tensor([[[True, True], [False, False]]])
        ... )
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items()}
        {'iou_auc': 0.5583, 'iou_best': 1.0, 'iou_best_threshold': 0.5}
    """

    def __init__(
        self,
        thresholds: int | Sequence[float] = 101,
        *,
        inclusive: bool = False,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(threshold_steps(thresholds), inclusive=inclusive, normalize=normalize, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """Return the area under the curve and its best point; NaN where no image counted.

        Returns:
            ``iou_auc``, by the trapezoid rule; ``iou_best``; and ``iou_best_threshold``, the lowest that reaches it.
        """
        curve = mean_of_fixed_point(self.iou, self.count)
        thresholds = self.thresholds.to(curve)
        best = curve.argmax()
        return {
            "iou_auc": torch.trapezoid(curve, thresholds),
            "iou_best": curve[best],
            "iou_best_threshold": torch.where(curve[best].isnan(), torch.nan, thresholds[best]),
        }

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return the ``(T,)`` thresholds and the mean IoU at each, over all ranks; call it on all ranks."""
        with self.sync_context(should_sync=self.sync_on_compute):
            curve = mean_of_fixed_point(self.iou, self.count)
        return self.thresholds.to(curve), curve


class IoUAtThreshold(_MeanIoU):
    """Mean IoU of the attribution binarised at one threshold, which was fixed beforehand or chosen on validation data.

    Images whose foreground is absent or empty are skipped and counted in ``skipped``. For a binary mask any threshold
    below 1 gives the IoU of the mask itself.

    Args:
        threshold: scores above it are selected.
        inclusive: select scores that equal it as well.
        normalize: stretch each map to [0, 1] first.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if the threshold is outside [0, 1].

    Example:
        >>> import torch
        >>> metric = IoUAtThreshold(0.1)
        >>> metric.update(
        ...     torch.tensor([[[0.9, 0.6], [0.2, 0.0]]]), torch.tensor([[[True, True], [False, False]]])
        ... )
        >>> metric.compute()
        tensor(0.6667, dtype=torch.float64)
    """

    def __init__(
        self, threshold: float = 0.5, *, inclusive: bool = False, normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(threshold_steps([threshold]), inclusive=inclusive, normalize=normalize, **kwargs)

    def compute(self) -> Tensor:
        """Return the mean IoU in [0, 1] as a scalar; NaN where no image counted."""
        return mean_of_fixed_point(self.iou, self.count)[0]
