"""Metrics of one batch as plain functions; the classes of :mod:`maskexp.metrics` add them up over a data set."""

from __future__ import annotations

from maskexp.metrics.functional.energy_pointing_game import energy_pointing_game
from maskexp.metrics.functional.group_accuracy import group_accuracy
from maskexp.metrics.functional.inputs import minmax_normalize
from maskexp.metrics.functional.iou_curve import iou_curve
from maskexp.metrics.functional.legacy_comet import legacy_comet_average_precision, legacy_comet_iou_auc
from maskexp.metrics.functional.max_box_accuracy import box_iou, max_box_accuracy
from maskexp.metrics.functional.mean_area import mean_area
from maskexp.metrics.functional.pixel_average_precision import pixel_average_precision
from maskexp.metrics.functional.pointing_game import pointing_game

__all__ = [
    "box_iou",
    "energy_pointing_game",
    "group_accuracy",
    "iou_curve",
    "legacy_comet_average_precision",
    "legacy_comet_iou_auc",
    "max_box_accuracy",
    "mean_area",
    "minmax_normalize",
    "pixel_average_precision",
    "pointing_game",
]
