"""Metrics of one batch as plain functions; the classes of :mod:`maskexp.metrics` add them up over a data set."""

from __future__ import annotations

from maskexp.metrics.functional.bg_gap import bg_gap
from maskexp.metrics.functional.energy_pointing_game import energy_pointing_game
from maskexp.metrics.functional.group_accuracy import group_accuracy
from maskexp.metrics.functional.inputs import minmax_normalize
from maskexp.metrics.functional.insertion_deletion import insertion_deletion
from maskexp.metrics.functional.iou_curve import iou_curve
from maskexp.metrics.functional.legacy_comet import legacy_comet_average_precision, legacy_comet_iou_auc
from maskexp.metrics.functional.max_box_accuracy import box_iou, max_box_accuracy
from maskexp.metrics.functional.mean_area import mean_area
from maskexp.metrics.functional.pixel_average_precision import pixel_average_precision
from maskexp.metrics.functional.pixel_fidelity import pixel_fidelity
from maskexp.metrics.functional.pixel_noise import above_own_mean, kept_pixels
from maskexp.metrics.functional.pixel_selection import attribution_rank, most_attributed
from maskexp.metrics.functional.pointing_game import pointing_game
from maskexp.metrics.functional.probability import probability_drop
from maskexp.metrics.functional.sufficiency import comprehensiveness, sufficiency

__all__ = [
    "above_own_mean",
    "attribution_rank",
    "bg_gap",
    "box_iou",
    "comprehensiveness",
    "energy_pointing_game",
    "group_accuracy",
    "insertion_deletion",
    "iou_curve",
    "kept_pixels",
    "legacy_comet_average_precision",
    "legacy_comet_iou_auc",
    "max_box_accuracy",
    "mean_area",
    "minmax_normalize",
    "most_attributed",
    "pixel_average_precision",
    "pixel_fidelity",
    "pointing_game",
    "probability_drop",
    "sufficiency",
]
