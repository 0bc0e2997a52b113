"""Pixel average precision (PxAP) over a data set, from histograms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.pixel_average_precision import (
    Average,
    average_precision_of_histograms,
    prepare_pixels,
    score_histograms,
    validated_bins,
    warn_if_undefined,
)

__all__ = ["PixelAveragePrecision"]


class PixelAveragePrecision(Metric):
    """Pixel average precision (PxAP), pooled over all pixels of all images or averaged over images.

    Formula, range, bins and sources are those of :func:`maskexp.metrics.functional.pixel_average_precision`. The state
    is two histograms of 64-bit integers (16 kB at 1000 bins), whatever the number of images, so that the value is that
    of the whole data set, never a mean over batches or ranks. A foreground without pixels still counts as background;
    an image whose ``has_foreground`` is False is left out.

    Args:
        bins: number of equal bins of the scores; 1000 is the literature's, 65536 is finer than most maps need.
        average: ``pooled``, or ``image`` for the mean over images of each image's own average precision.
        normalize: stretch each map to [0, 1] first, as the released code of Choe et al. (2020) does.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if ``bins`` is not positive or ``average`` unknown.

    Example:
        >>> import torch
        >>> metric = PixelAveragePrecision()
        >>> metric.update(torch.tensor([[[0.9, 0.8, 0.7, 0.6]]]), torch.tensor([[[True, True, False, True]]]))
        >>> metric.update(torch.tensor([[[0.4, 0.3, 0.2, 0.1]]]), torch.tensor([[[False, False, True, False]]]))
        >>> metric.compute()
        tensor(0.8304, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    histograms: Tensor
    precision: Tensor
    count: Tensor

    def __init__(
        self, bins: int = 1000, *, average: Average = "pooled", normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if average not in ("pooled", "image"):
            raise ValueError(f"average is 'pooled' or 'image', not {average!r}")
        self.bins = validated_bins(bins)
        self.average = average
        self.normalize = normalize
        if average == "pooled":
            self.add_state("histograms", torch.zeros(2, bins + 1, dtype=torch.int64), dist_reduce_fx="sum")
        else:
            self.add_state("precision", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        attribution: Tensor,
        foreground: Tensor,
        has_foreground: Tensor | None = None,
        ignore: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], or any finite numbers if ``normalize``.
            foreground: bool, same size.
            has_foreground: ``(B,)`` bool; all True where not given.
            ignore: bool, same size; pixels that count neither way.
        """
        pixels = prepare_pixels(attribution, foreground, has_foreground, ignore, normalize=self.normalize)
        histograms = score_histograms(*pixels, self.bins, per_image=self.average == "image")
        if self.average == "pooled":
            self.histograms += histograms
        else:
            precision = average_precision_of_histograms(histograms)
            self.precision += to_fixed_point(precision.nan_to_num()).sum()
            self.count += (~precision.isnan()).sum()

    def compute(self) -> Tensor:
        """Return the average precision in [0, 1] as a scalar; NaN with a warning where there is no foreground pixel."""
        if self.average == "pooled":
            return warn_if_undefined(average_precision_of_histograms(self.histograms))
        return warn_if_undefined(mean_of_fixed_point(self.precision, self.count))
