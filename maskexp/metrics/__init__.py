"""Metrics that judge a classifier and its attribution, exact under any split into batches and ranks.

All are :class:`torchmetrics.Metric` objects whose states are 64-bit integer sums. Put them into a ``MetricCollection``
only with ``compute_groups=False``: its default merges metrics whose states happen to agree after the first batch.
"""

from __future__ import annotations

from maskexp.metrics.bg_gap import BGGap
from maskexp.metrics.constant_maps import ConstantMaps
from maskexp.metrics.controls import CONTROLS, control_attribution
from maskexp.metrics.energy_pointing_game import EnergyPointingGame
from maskexp.metrics.group_accuracy import GroupAccuracy
from maskexp.metrics.insertion_deletion import InsertionDeletion
from maskexp.metrics.iou_curve import IoUAtThreshold, IoUCurve
from maskexp.metrics.legacy_comet import LegacyCometAveragePrecision, LegacyCometIoUAUC
from maskexp.metrics.max_box_accuracy import MaxBoxAccuracy
from maskexp.metrics.mean_area import MeanArea
from maskexp.metrics.missingness import MissingnessCurve
from maskexp.metrics.pixel_average_precision import PixelAveragePrecision
from maskexp.metrics.pixel_fidelity import PixelFidelity
from maskexp.metrics.pointing_game import PointingGame
from maskexp.metrics.probability_drop import ProbabilityDrop
from maskexp.metrics.sufficiency import Comprehensiveness, Sufficiency

__all__ = [
    "CONTROLS",
    "BGGap",
    "Comprehensiveness",
    "ConstantMaps",
    "EnergyPointingGame",
    "GroupAccuracy",
    "InsertionDeletion",
    "IoUAtThreshold",
    "IoUCurve",
    "LegacyCometAveragePrecision",
    "LegacyCometIoUAUC",
    "MaxBoxAccuracy",
    "MeanArea",
    "MissingnessCurve",
    "PixelAveragePrecision",
    "PixelFidelity",
    "PointingGame",
    "ProbabilityDrop",
    "Sufficiency",
    "control_attribution",
]
