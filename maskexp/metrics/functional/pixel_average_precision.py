"""Pixel average precision (PxAP): attribution as a detector of foreground pixels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from maskexp.metrics.functional.histograms import slot_histograms
from maskexp.metrics.functional.inputs import batch_of_foregrounds, present_images, real_dtype, unit_maps

__all__ = ["pixel_average_precision"]

Average = Literal["pooled", "image"]


def pixel_average_precision(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    ignore: Tensor | None = None,
    *,
    bins: int | None = 1000,
    average: Average = "pooled",
    normalize: bool = False,
) -> Tensor:
    r"""Compute the pixel average precision (PxAP).

    Every pixel of every image is one detection with score :math:`s` and truth :math:`T`. With thresholds
    :math:`t_0 > t_1 > \dots` over all pixels pooled,

    .. math::
        \text{PxAP} = \sum_l P(t_l) \left(R(t_l) - R(t_{l-1})\right), \quad
        P(t) = \frac{|\{s \ge t, T = 1\}|}{|\{s \ge t\}|}, \quad R(t) = \frac{|\{s \ge t, T = 1\}|}{|\{T = 1\}|}

    where a step takes the precision of its right end point, as scikit-learn's ``average_precision_score`` does. The
    range is [0, 1] (papers print it × 100), higher is better; a constant map scores the share of foreground pixels.

    Scores fall into ``bins`` equal bins, bin :math:`k` holding :math:`k \le s \cdot bins < k + 1`, and 1.0 a bin of its
    own; scores within one bin are tied. Maps with most scores near 0, such as sigmoid masks, need fine bins there:
    65536 instead of 1000 can add three points of a hundred.

    Source: Choe et al. (2020, Evaluating Weakly Supervised Object Localization Methods Right) and their released code,
    with 1000 bins. Pooled PxAP depends on how maps of different images are scaled against each other; the released code
    min-max normalises each map first, which is ``normalize`` here.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], at the size of the foreground.
        foreground: bool, same size.
        has_foreground: ``(B,)`` bool; images without a ground truth are left out.
        ignore: bool, same size; pixels that count neither way.
        bins: number of bins; None sorts all pixels instead, which is exact and meant for small sets.
        average: ``pooled`` over all pixels, or ``image``, the mean of each image's own average precision over images
            with foreground pixels.
        normalize: stretch each map to [0, 1] first (a constant map becomes zeros); values may then be any numbers.

    Returns:
        A scalar; NaN with a warning where there is no foreground pixel.

    Raises:
        ValueError: if shapes or types do not fit, or scores are NaN, infinite or outside [0, 1].

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[0.9, 0.8, 0.7, 0.6], [0.4, 0.3, 0.2, 0.1]]])
        >>> foreground = torch.tensor([[[True, True, False, True], [False, False, True, False]]])
        >>> pixel_average_precision(attribution, foreground)
        tensor(0.8304, dtype=torch.float64)
    """
    maps, foreground, valid = prepare_pixels(attribution, foreground, has_foreground, ignore, normalize=normalize)
    if bins is None:
        if average == "image":
            precisions = [exact_average_precision(*image) for image in zip(maps, foreground, valid, strict=True)]
            return defined_mean(torch.stack(precisions))
        return warn_if_undefined(exact_average_precision(maps, foreground, valid))
    histograms = score_histograms(maps, foreground, valid, validated_bins(bins), per_image=average == "image")
    if average == "image":
        return defined_mean(average_precision_of_histograms(histograms))
    return warn_if_undefined(average_precision_of_histograms(histograms))


def validated_bins(bins: int) -> int:
    """Return ``bins`` if it is a positive number.

    Raises:
        ValueError: if it is not.
    """
    if bins < 1:
        raise ValueError(f"bins has to be at least 1, not {bins}")
    return bins


def prepare_pixels(
    attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None, ignore: Tensor | None, *, normalize: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Check and return scores, truth and which pixels count, all ``(B, H, W)``."""
    maps = unit_maps(attribution, normalize=normalize)
    foreground = batch_of_foregrounds(foreground, maps.shape)
    valid = present_images(has_foreground, foreground)[:, None, None].expand_as(foreground)
    if ignore is not None:
        valid = valid & ~batch_of_foregrounds(ignore, maps.shape, "ignore")
    return maps, foreground, valid


def score_histograms(maps: Tensor, foreground: Tensor, valid: Tensor, bins: int, *, per_image: bool) -> Tensor:
    """Count scores in [0, 1] by bin: int64 ``(2, bins + 1)`` background and foreground, ``(B, 2, bins + 1)`` per image.

    The last bin holds the score 1.0 alone.
    """
    slot = (maps * bins).floor().to(torch.int64)
    return slot_histograms(slot, foreground, valid, bins + 1, per_image=per_image)


def average_precision_of_histograms(histograms: Tensor) -> Tensor:
    """Return the average precision of ``(..., 2, bins)`` background and foreground counts; NaN without foreground."""
    negative, positive = histograms.flip(-1).unbind(-2)
    return _average_precision(positive, positive.cumsum(-1), negative.cumsum(-1))


def exact_average_precision(scores: Tensor, foreground: Tensor, valid: Tensor) -> Tensor:
    """Return the average precision with every distinct score as a threshold; NaN without foreground."""
    order = scores[valid].sort(descending=True)
    truth = foreground[valid][order.indices].to(torch.int64)
    last_of_its_score = order.values.diff(append=order.values.new_tensor([-1.0])) != 0
    true_positive = truth.cumsum(0)[last_of_its_score]
    false_positive = (1 - truth).cumsum(0)[last_of_its_score]
    return _average_precision(true_positive.diff(prepend=true_positive.new_zeros(1)), true_positive, false_positive)


def defined_mean(precisions: Tensor) -> Tensor:
    """Return the mean over those that are not NaN; NaN with a warning if all are."""
    return warn_if_undefined(precisions.nanmean())


def warn_if_undefined(precision: Tensor) -> Tensor:
    """Return the value; warn if it is NaN."""
    if bool(precision.isnan()):
        rank_zero_warn("no foreground pixel among all images: the pixel average precision is undefined (NaN)")
    return precision


def _average_precision(new_true_positive: Tensor, true_positive: Tensor, false_positive: Tensor) -> Tensor:
    """Sum precision × new recall along the last dimension, thresholds descending."""
    real = real_dtype(true_positive.device)
    precision = true_positive.to(real) / (true_positive + false_positive).clamp(min=1)
    return (precision * new_true_positive).sum(-1) / new_true_positive.sum(-1)
