"""Intersection over union of a binarised attribution with the foreground, at one or at all thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskexp.metrics.functional.histograms import slot_histograms
from maskexp.metrics.functional.inputs import batch_of_foregrounds, present_images, to_real, unit_maps

__all__ = ["iou_curve"]


def iou_curve(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    *,
    thresholds: int | Sequence[float] = 101,
    inclusive: bool = False,
    normalize: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Compute the mean intersection over union (IoU) at each of a sequence of thresholds.

    With the selection :math:`S_i(t) = \{s_i > t\}` of the map and the foreground :math:`T_i` of image :math:`i`,

    .. math:: \text{IoU}(t) = \frac{1}{N} \sum_i \frac{|S_i(t) \cap T_i|}{|S_i(t) \cup T_i|}

    over the :math:`N` images with a foreground pixel. The range is [0, 1], higher is better. The area under the curve,
    ``torch.trapezoid(iou, thresholds)``, needs no threshold to be picked; the best threshold has to be picked on
    validation data.

    Source: believed to be the curve of Oramas et al. (2019, an8Flower), whose text could not be checked; the
    thresholds are ours. What COMET's code calls by this name is
    :func:`~maskexp.metrics.functional.legacy_comet_iou_auc`.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], at the size of the foreground.
        foreground: bool, same size.
        has_foreground: ``(B,)`` bool; images without a ground truth, or with an empty one, are left out.
        thresholds: their number, evenly from 0 to 1, or themselves, ascending.
        inclusive: select scores that equal the threshold as well.
        normalize: stretch each map to [0, 1] first (a constant map becomes zeros); values may then be any numbers.

    Returns:
        The ``(T,)`` thresholds and the mean IoU at each; NaN where there is no image with a foreground.

    Raises:
        ValueError: if shapes or types do not fit, scores are NaN, infinite or outside [0, 1], or the thresholds are
            not ascending in [0, 1].

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[0.9, 0.6], [0.2, 0.0]]])
        >>> foreground = torch.tensor([[[True, True], [False, False]]])
        >>> thresholds, iou = iou_curve(attribution, foreground, thresholds=[0.1, 0.5, 0.8])
        >>> iou
        tensor([0.6667, 1.0000, 0.5000], dtype=torch.float64)
        >>> torch.trapezoid(iou, thresholds)
        tensor(0.5583, dtype=torch.float64)
    """
    maps = unit_maps(attribution, normalize=normalize)
    steps = threshold_steps(thresholds).to(maps)
    iou, usable = iou_per_image(maps, foreground, has_foreground, steps, inclusive=inclusive)
    return steps, iou[usable].mean(dim=0)


def threshold_steps(thresholds: int | Sequence[float]) -> Tensor:
    """Return the thresholds, given by number or by value, as a ``(T,)`` tensor on the CPU.

    Raises:
        ValueError: if there is none, or they do not ascend in [0, 1].
    """
    if isinstance(thresholds, int):
        if thresholds < 2:
            raise ValueError(f"a curve from 0 to 1 needs at least 2 thresholds, not {thresholds}")
        return torch.arange(thresholds, dtype=torch.float64) / (thresholds - 1)
    steps = torch.tensor(thresholds, dtype=torch.float64)
    if len(steps) == 0 or steps[0] < 0 or steps[-1] > 1 or bool((steps.diff() <= 0).any()):
        raise ValueError(f"thresholds have to ascend in [0, 1], but are {list(thresholds)}")
    return steps


def iou_per_image(
    maps: Tensor, foreground: Tensor, has_foreground: Tensor | None, thresholds: Tensor, *, inclusive: bool
) -> tuple[Tensor, Tensor]:
    """Return the IoU of every image at every threshold, ``(B, T)``, and which images have a foreground, ``(B,)``."""
    foreground = batch_of_foregrounds(foreground, maps.shape)
    # the number of thresholds that a score passes
    passed = torch.searchsorted(thresholds.to(maps), maps.contiguous(), right=inclusive)
    everywhere = torch.ones_like(foreground)
    counts = slot_histograms(passed, foreground, everywhere, len(thresholds) + 1, per_image=True)
    false_positive, intersection = counts.flip(-1).cumsum(-1).flip(-1)[..., 1:].unbind(-2)
    size = foreground.flatten(1).sum(dim=1)
    iou = to_real(intersection) / (size[:, None] + false_positive).clamp(min=1)
    return iou, present_images(has_foreground, foreground) & (size > 0)
