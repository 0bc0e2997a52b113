"""Localisation scores as the released code of COMET computes them, for comparison with its published tables only.

Both go by names that are in use for other things. Never put them into one table with the standard definitions
:func:`~maskexp.metrics.functional.pixel_average_precision` and :func:`~maskexp.metrics.functional.iou_curve`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.metrics.functional.histograms import slot_histograms
from maskexp.metrics.functional.inputs import batch_of_foregrounds, present_images, real_dtype, unit_maps
from maskexp.metrics.functional.pixel_average_precision import prepare_pixels, warn_if_undefined

__all__ = ["legacy_comet_average_precision", "legacy_comet_iou_auc"]


def legacy_comet_average_precision(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    *,
    edges: int = 20,
    normalize: bool = False,
) -> Tensor:
    r"""Compute what COMET's released evaluation prints as PxAP.

    It differs from pixel average precision in two ways. Scores below the lowest edge :math:`1 / \text{edges}` drop out
    of everything, foreground pixels included: a map that gives half the foreground a score of 0.01 and the background
    0.02 has a PxAP of 0.55, and 1.0 here. And the curve starts at a recall of 1/10001, so that a perfect map scores
    0.9999. The range is [0, 1], higher is better.

    Source: released code of COMET (Zhang et al., ECCV 2024), which takes 20 edges for COMET and 40 for its baselines;
    the two are not comparable either.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], at the size of the foreground.
        foreground: bool, same size.
        has_foreground: ``(B,)`` bool; images without a ground truth are left out.
        edges: bins of the unit interval, of which the lowest is dropped.
        normalize: stretch each map to [0, 1] first, which the released code does for some of its baselines.

    Returns:
        A scalar; NaN with a warning where no foreground pixel has a score above the lowest edge.

    Raises:
        ValueError: if shapes or types do not fit, or scores are NaN, infinite or outside [0, 1].

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[0.9] * 5 + [0.01] * 5 + [0.02] * 90]])
        >>> foreground = torch.tensor([[[True] * 10 + [False] * 90]])
        >>> legacy_comet_average_precision(attribution, foreground)
        tensor(1., dtype=torch.float64)
    """
    pixels = prepare_pixels(attribution, foreground, has_foreground, None, normalize=normalize)
    histograms = legacy_comet_histograms(*pixels, validated_edges(edges))
    return warn_if_undefined(average_precision_of_legacy_histograms(histograms))


def legacy_comet_iou_auc(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    *,
    threshold: float,
    steps: int = 20000,
) -> Tensor:
    r"""Compute what COMET's released evaluation calls the area under the IoU curve.

    The curve is the share of images whose IoU at *one* fixed binarisation reaches :math:`t`, and its area from 0 to 1
    by the trapezoid rule is nothing but the mean IoU plus half a step. An image of which neither the map nor the
    foreground has pixels counts as failed at every :math:`t`. The range is [0, 1], higher is better.

    Source: released code of COMET (Zhang et al., ECCV 2024), with 20000 steps and a threshold picked by hand for each
    method (COMET 0.9, B-cos 0.1, RBF 0.5, RT-Saliency 0.95, CAM 0.6).

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], at the size of the foreground.
        foreground: bool, same size.
        has_foreground: ``(B,)`` bool; images without a ground truth are left out.
        threshold: scores above it are selected.
        steps: number of steps of the curve.

    Returns:
        A scalar; NaN where there is no image.

    Raises:
        ValueError: if shapes or types do not fit, or scores are NaN, infinite or outside [0, 1].

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0]]])
        >>> legacy_comet_iou_auc(attribution, torch.ones(1, 1, 5, dtype=torch.bool), threshold=0.5)
        tensor(0.4000, dtype=torch.float64)
    """
    half_steps, present = legacy_comet_half_steps(
        attribution, foreground, has_foreground, threshold, validated_steps(steps)
    )
    return area_of_half_steps(half_steps[present].sum(), present.sum(), steps)


def validated_edges(edges: int) -> int:
    """Return ``edges`` if at least one bin is left above the lowest.

    Raises:
        ValueError: if it is not.
    """
    if edges < 2:
        raise ValueError(f"edges has to be at least 2, not {edges}")
    return edges


def validated_steps(steps: int) -> int:
    """Return ``steps`` if it is a positive number.

    Raises:
        ValueError: if it is not.
    """
    if steps < 1:
        raise ValueError(f"steps has to be at least 1, not {steps}")
    return steps


def legacy_comet_histograms(maps: Tensor, foreground: Tensor, valid: Tensor, edges: int) -> Tensor:
    """Count scores of at least ``1 / edges`` by bin: int64 ``(2, edges - 1)``; 1.0 belongs to the highest bin."""
    slot = (maps * edges).floor().clamp(max=edges - 1).to(torch.int64)
    return slot_histograms(slot, foreground, valid, edges, per_image=False)[:, 1:]


def average_precision_of_legacy_histograms(histograms: Tensor) -> Tensor:
    """Return the average precision of a curve that begins at one hit and 10000 misses."""
    real = real_dtype(histograms.device)
    false_positive, true_positive = histograms.flip(-1).cumsum(-1)
    selected = true_positive + false_positive
    recall = true_positive.to(real) / true_positive[-1]
    new_recall = recall.diff(prepend=recall.new_tensor([1 / 10001]))
    precision = true_positive.to(real) / selected.clamp(min=1)
    area = torch.where(selected > 0, precision * new_recall, 0.0).sum()
    return torch.where(true_positive[-1] > 0, area, torch.nan)


def legacy_comet_half_steps(
    attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None, threshold: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Return each image's area under its own step curve in halves of a step, int64, and which images are present."""
    maps = unit_maps(attribution, normalize=False)
    foreground = batch_of_foregrounds(foreground, maps.shape)
    selected = maps > threshold
    intersection = (selected & foreground).flatten(1).sum(dim=1)
    union = (selected | foreground).flatten(1).sum(dim=1)
    reached = (intersection * steps) // union.clamp(min=1)  # the last step of the curve that the IoU reaches, exactly
    half_steps = torch.where(reached == steps, 2 * steps, 2 * reached + 1)
    return torch.where(union > 0, half_steps, 0), present_images(has_foreground, foreground)


def area_of_half_steps(half_steps: Tensor, count: Tensor, steps: int) -> Tensor:
    """Return the mean area under the curves of ``count`` images; NaN for none."""
    return half_steps.to(real_dtype(half_steps.device)) / (2 * steps * count)
