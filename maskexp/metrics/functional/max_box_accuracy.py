"""Box localisation: does a box around the binarised attribution match the box of the object, at the best threshold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from maskexp.metrics.functional.inputs import batch_of_foregrounds, present_images, real_dtype, unit_maps

__all__ = ["box_iou", "max_box_accuracy"]

Boxes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Version = Literal["v1", "v2"]
IOUS = {"v1": (0.5,), "v2": (0.3, 0.5, 0.7)}
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def max_box_accuracy(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    boxes: Sequence[Tensor] | None = None,
    *,
    version: Version = "v2",
    thresholds: int = 100,
    normalize: bool = False,
) -> dict[str, Tensor]:
    r"""Compute MaxBoxAcc (v1) or MaxBoxAccV2.

    At each threshold :math:`\tau` the map, in 256 grey levels, is binarised at :math:`\tau` of its maximum and
    surrounded by boxes; the accuracy is the share of images with a box whose IoU with a box of the object is at least
    :math:`\delta`. The best threshold for the whole data set counts:

    .. math:: \text{MaxBoxAcc}(\delta) = \max_\tau \frac{1}{N} \sum_i [\text{IoU}_i(\tau) \ge \delta]

    Version 1 takes the box of the largest connected region and :math:`\delta = 0.5`; version 2 the best box of all
    regions and holes, and the mean over :math:`\delta = 0.3, 0.5, 0.7`. The range is [0, 1], higher is better.

    Source: Choe et al. (2020, Evaluating Weakly Supervised Object Localization Methods Right; V2 in its journal
    version) and their released code, whose boxes end one pixel behind the last. The released code finds regions with
    OpenCV's ``findContours``; here they come from scipy, with the same boxes and areas.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], at the size of the foreground.
        foreground: bool, same size; the box around it is the object's, unless ``boxes`` are given.
        has_foreground: ``(B,)`` bool; images without a ground truth, or with an empty one, are left out.
        boxes: per image ``(n, 4)`` integers (left, top, right, bottom) in pixels of the map.
        version: ``v1`` or ``v2``.
        thresholds: their number, evenly from 0 below 1.
        normalize: stretch each map to [0, 1] first, as the released code does.

    Returns:
        ``max_box_acc`` for version 1; for version 2 ``max_box_acc_v2`` and ``max_box_acc_30``, ``…_50``, ``…_70``;
        NaN where there is no image with a foreground.

    Raises:
        ValueError: if shapes or types do not fit, or scores are NaN, infinite or outside [0, 1].

    Example:
        >>> import torch
        >>> attribution, foreground = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> attribution[:, 2:6, 1:5] = 0.9
        >>> foreground[:, 2:6, 1:4] = True
        >>> {name: round(value.item(), 4) for name, value in max_box_accuracy(attribution, foreground).items()}
        {'max_box_acc_v2': 1.0, 'max_box_acc_30': 1.0, 'max_box_acc_50': 1.0, 'max_box_acc_70': 1.0}
    """
    steps = threshold_grid(thresholds)
    maps = unit_maps(attribution, normalize=normalize)
    hits, counted = box_hits(maps, foreground, has_foreground, boxes, version, steps)
    return accuracy_of_hits(hits, counted.sum(), version)


def box_iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Return the IoU of all pairs of ``(n, 4)`` and ``(m, 4)`` boxes, whose right and bottom pixels are inside.

    Example:
        >>> box_iou(np.array([[1, 2, 5, 6]]), np.array([[3, 1, 4, 5]])) * 27
        array([[8.]])
    """
    first, second = first[:, None], second[None]
    overlap = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + 1
    intersection = overlap.clip(min=0).prod(axis=-1)
    areas = [(b[..., 2:] - b[..., :2] + 1).prod(axis=-1) for b in (first, second)]
    iou: npt.NDArray[np.float64] = intersection / (areas[0] + areas[1] - intersection)
    return iou


def threshold_grid(thresholds: int) -> npt.NDArray[np.float64]:
    """Return ``thresholds`` numbers evenly from 0 below 1.

    Raises:
        ValueError: if there is none.
    """
    if thresholds < 1:
        raise ValueError(f"thresholds has to be at least 1, not {thresholds}")
    return np.arange(thresholds) / thresholds


def box_hits(
    maps: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None,
    boxes: Sequence[Tensor] | None,
    version: Version,
    thresholds: npt.NDArray[np.float64],
) -> tuple[Tensor, Tensor]:
    """Count the images that are right at each IoU and threshold, int64 ``(IoUs, T)``, and tell which counted."""
    foreground = batch_of_foregrounds(foreground, maps.shape)
    present = present_images(has_foreground, foreground) & foreground.flatten(1).any(dim=1)
    if boxes is not None and len(boxes) != len(maps):
        raise ValueError(f"{len(maps)} images need as many sets of boxes, not {len(boxes)}")
    grey = (maps * 255).to(torch.uint8).cpu().numpy()
    masks = foreground.cpu().numpy()
    hits = np.zeros((len(IOUS[version]), len(thresholds)), dtype=np.int64)
    for i in present.nonzero().flatten().tolist():
        truth = _box_around(masks[i]) if boxes is None else boxes[i].cpu().numpy()
        best = best_iou_per_threshold(grey[i], truth, thresholds, largest_only=version == "v1")
        hits += best[None] >= np.array(IOUS[version])[:, None]
    return torch.from_numpy(hits).to(maps.device), present


def best_iou_per_threshold(
    grey: npt.NDArray[np.uint8], truth: Boxes, thresholds: npt.NDArray[np.float64], *, largest_only: bool
) -> npt.NDArray[np.float64]:
    """Return the best IoU of a map's boxes with the boxes ``truth`` at each threshold, ``(T,)``."""
    levels = (thresholds * grey.max()).astype(np.int64)  # many thresholds are the same grey level
    distinct, inverse = np.unique(levels, return_inverse=True)
    best = [box_iou(bounding_boxes(grey > level, largest_only=largest_only), truth).max() for level in distinct]
    return np.array(best)[inverse]


def bounding_boxes(selected: Mask, *, largest_only: bool) -> Boxes:
    """Return ``(n, 4)`` boxes (left, top, right, bottom) of an ``(H, W)`` mask; one box of zeros where it is empty.

    They surround all regions of 8 neighbours and the outlines of their holes; if ``largest_only``, the one region whose
    outline encloses the largest area.
    """
    labels, count = ndimage.label(selected, EIGHT_NEIGHBOURS)
    if count == 0:
        return np.zeros((1, 4), dtype=np.int64)
    slices = ndimage.find_objects(labels)
    if largest_only:
        return _within([_corners(slices[_largest_region(labels, slices)])], selected)
    return _within([_corners(region) for region in slices] + _hole_outlines(selected), selected)


def _corners(region: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = region
    return columns.start, rows.start, columns.stop, rows.stop


def _within(corners: list[tuple[int, int, int, int]], image: Mask) -> Boxes:
    height, width = image.shape
    return np.minimum(corners, [width - 1, height - 1, width - 1, height - 1])


def _box_around(mask: Mask) -> Boxes:
    """Return one ``(1, 4)`` box around all pixels of a mask that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _within([(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)], mask)


def _largest_region(labels: npt.NDArray[Any], slices: list[tuple[slice, slice]]) -> int:
    """Return which region has the outline of largest area; among equals the last in reading order, as OpenCV does."""
    extents = [(y.stop - y.start - 1) * (x.stop - x.start - 1) for y, x in slices]  # no outline encloses more
    best, best_area = -1, -1.0
    for i in sorted(range(len(slices)), key=lambda i: (-extents[i], -i)):
        if extents[i] < best_area:
            break
        area = _outline_area(ndimage.binary_fill_holes(labels[slices[i]] == i + 1))
        if area > best_area or (area == best_area and i > best):
            best, best_area = i, area
    return best


def _outline_area(filled: Mask) -> float:
    """Return the area within the polygon through the centres of the outermost pixels of a region without holes."""
    pixels = filled.astype(np.int8)
    corners = pixels[:-1, :-1] + pixels[1:, :-1] + pixels[:-1, 1:] + pixels[1:, 1:]
    return float((corners == 4).sum() + 0.5 * (corners == 3).sum())


def _hole_outlines(selected: Mask) -> list[tuple[int, int, int, int]]:
    """Return the boxes of the pixels that surround each hole; holes are regions of 4 neighbours."""
    outside = np.pad(~selected, 1, constant_values=True)
    labels, _ = ndimage.label(outside)
    holes = ndimage.find_objects(labels)[1:]  # the first is the frame, and what it touches
    return [(x.start - 2, y.start - 2, x.stop, y.stop) for y, x in holes]


def accuracy_of_hits(hits: Tensor, count: Tensor, version: Version) -> dict[str, Tensor]:
    """Return the accuracies by name from hits ``(IoUs, T)`` over all images."""
    accuracy = hits.amax(dim=1).to(real_dtype(hits.device)) / count
    if version == "v1":
        return {"max_box_acc": accuracy[0]}
    single = {f"max_box_acc_{round(100 * iou)}": value for iou, value in zip(IOUS[version], accuracy, strict=True)}
    return {"max_box_acc_v2": accuracy.mean()} | single
