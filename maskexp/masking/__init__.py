"""Masks as torch operations: estimate, binarise, penalise, merge."""

from maskexp.masking.binarize import GumbelBinarizer, binarize
from maskexp.masking.estimators import AIMEstimator
from maskexp.masking.merge import intersect_masks, merge_masks, upsample_nearest
from maskexp.masking.objectives import active_fraction, annealed_target, area_loss

__all__ = [
    "AIMEstimator",
    "GumbelBinarizer",
    "active_fraction",
    "annealed_target",
    "area_loss",
    "binarize",
    "intersect_masks",
    "merge_masks",
    "upsample_nearest",
]
