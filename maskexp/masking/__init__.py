"""Masks as torch operations: estimate, binarise, penalise, merge, compute sparsely."""

from maskexp.masking.binarize import GumbelBinarizer, binarize
from maskexp.masking.budget import (
    PositionMACs,
    block_bounds_loss,
    budget_bounds,
    mac_shares,
    network_budget_loss,
)
from maskexp.masking.dilation import convolved_size, dilate_mask
from maskexp.masking.estimators import AIMEstimator, CADEstimator, DynConvEstimator
from maskexp.masking.merge import average_masks, intersect_masks, merge_masks, upsample_nearest
from maskexp.masking.objectives import active_fractions, annealed_target, area_loss
from maskexp.masking.sparse import ActivePositions, check_share, check_sparse, run_at, run_masked

__all__ = [
    "AIMEstimator",
    "ActivePositions",
    "CADEstimator",
    "DynConvEstimator",
    "GumbelBinarizer",
    "PositionMACs",
    "active_fractions",
    "annealed_target",
    "area_loss",
    "average_masks",
    "binarize",
    "block_bounds_loss",
    "budget_bounds",
    "check_share",
    "check_sparse",
    "convolved_size",
    "dilate_mask",
    "intersect_masks",
    "mac_shares",
    "merge_masks",
    "network_budget_loss",
    "run_at",
    "run_masked",
    "upsample_nearest",
]
