"""Localisation: does the attribution lie on the foreground, by every measure and beside maps that know nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import rank_zero_warn

from maskexp.attribution import DEFAULT_MAPS, map_title, require_maps, validated_maps
from maskexp.evaluation.attributions import maps_of, require_foreground
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_seed
from maskexp.metrics import (
    CONTROLS,
    ConstantMaps,
    EnergyPointingGame,
    IoUCurve,
    LegacyCometAveragePrecision,
    LegacyCometIoUAUC,
    MaxBoxAccuracy,
    PixelAveragePrecision,
    PointingGame,
    control_attribution,
)
from maskexp.metrics.functional.legacy_comet import validated_edges
from maskexp.metrics.functional.pointing_game import validated_tolerance
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

__all__ = ["LegacyCometLocalization", "Localization"]


class _JudgedMaps(Evaluation):
    """Metrics of each map, and of the controls that have to stand beside them."""

    def __init__(self, maps: Sequence[str], seed: int = 0) -> None:
        super().__init__()
        check_seed(seed)
        self.explaining, self.seed = validated_maps(maps), seed
        self.maps = (*self.explaining, *CONTROLS)
        self.judged = nn.ModuleDict()

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch: all maps are compared with the same foregrounds."""
        foreground = batch["foreground"]
        maps = maps_of(classifier, batch, prediction, self.explaining)
        for control in CONTROLS:
            maps[control] = control_attribution(control, foreground, batch["index"], seed=self.seed)
        for name, attribution in maps.items():
            for metric in self.metrics(name).values():
                label = {"label": batch["label"]} if isinstance(metric, PointingGame) else {}
                metric.update(attribution, foreground, batch["has_foreground"], **label)

    def metrics(self, name: str) -> dict[str, Metric]:
        """Return the metrics of one map by their names."""
        return cast(dict[str, Metric], dict(cast(nn.ModuleDict, self.judged[name]).items()))

    def create(self, make: Callable[[str], dict[str, Metric]]) -> None:
        """Set the metrics of each map."""
        self.judged = nn.ModuleDict({name: nn.ModuleDict(make(name)) for name in self.maps})


class Localization(_JudgedMaps):
    """How well attributions find the foreground: every measure, for each map and the controls.

    Keys are ``localization/<metric>`` for the method's own attribution, ``…_<map>`` for the other maps, and
    ``…_random``, ``…_centred_gaussian``, ``…_constant`` and ``…_ground_truth`` for the controls, without which none of
    the numbers can be read. The metrics, higher is better for all but the numbers of maps, are

    * ``epg``: energy pointing game;
    * ``pxap``: pixel average precision, pooled, 1000 bins; ``pxap_fine`` with 65536; ``pxap_image``, the mean over
      images; ``pxap_minmax``, each map stretched to [0, 1] first;
    * ``iou_auc``: area under the mean IoU over all thresholds; ``iou``: mean IoU at the threshold that is best on the
      *validation* split, ``iou_threshold``. On a split for which no threshold has been chosen, which is the validation
      split itself, these are ``iou_best`` and ``iou_best_threshold`` instead;
    * ``pointing_game`` and ``pointing_game_class_mean``;
    * ``constant_maps``: how many maps have the same value everywhere, zeros for instance, and say nothing;
    * with ``boxes``: ``max_box_acc`` (V1), ``max_box_acc_v2`` and its parts at IoU 0.3, 0.5 and 0.7.

    ``localization/images`` is how many images have a foreground. What COMET's released code calls by the names of two
    of these is in :class:`LegacyCometLocalization`.

    Args:
        maps: which maps are judged: ``own`` and those registered in :mod:`maskexp.attribution`.
        boxes: whether to compare boxes too; runs on the CPU, and takes seconds an image of 224 × 224 pixels, most of
            them for the random control.
        tolerance: of the pointing game in pixels (TorchRay: 15, which means little on images of 64 pixels).
        seed: of the random control.

    Raises:
        ValueError: if the tolerance is negative.
    """

    needs_validation = True

    def __init__(
        self, maps: Sequence[str] = DEFAULT_MAPS, boxes: bool = False, tolerance: float = 15, seed: int = 0
    ) -> None:
        super().__init__(maps, seed)
        self.boxes, self.tolerance = boxes, validated_tolerance(tolerance)
        self.thresholds: dict[str, float] = {}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; thresholds that were chosen on the validation split are kept."""
        require_foreground(spec, "Localization")
        require_maps(network, self.explaining)

        def make(name: str) -> dict[str, Metric]:
            metrics: dict[str, Metric] = {
                "epg": EnergyPointingGame(),
                "pxap": PixelAveragePrecision(),
                "pxap_fine": PixelAveragePrecision(65536),
                "pxap_image": PixelAveragePrecision(average="image"),
                "pxap_minmax": PixelAveragePrecision(normalize=True),
                "iou": IoUCurve(),
                "pointing_game": PointingGame(spec.num_classes, tolerance=self.tolerance),
                "constant_maps": ConstantMaps(),
            }
            boxes: dict[str, Metric] = {"max_box_acc": MaxBoxAccuracy("v1"), "max_box_acc_v2": MaxBoxAccuracy("v2")}
            return metrics | (boxes if self.boxes else {})

        self.create(make)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``localization/<metric>`` of each map, metric by metric; the number of images alone if it is 0."""
        images = self._images()
        if images == 0:
            rank_zero_warn("Localization found no foreground in any image of the split, and measures nothing on it")
            return {ResultKey("localization", "images"): images}
        values: dict[str, dict[ResultKey, Tensor]] = {}
        for judged in self.maps:
            for metric_name, metric in self.metrics(judged).items():
                answer = self._iou(judged) if metric_name == "iou" else metric.compute()
                for name, value in (answer if isinstance(answer, dict) else {metric_name: answer}).items():
                    values.setdefault(name, {})[ResultKey("localization", name, judged)] = value
        by_metric = {key: value for found in values.values() for key, value in found.items()}
        return by_metric | {ResultKey("localization", "images"): images}

    def charts(self) -> list[Chart]:
        """Return the mean IoU over the threshold, one line a map; nothing where no image has a foreground."""
        if not self._images():
            return []
        curves = {name: self._curve(name) for name in self.maps}
        lines = {map_title(name): iou.tolist() for name, (_, iou) in curves.items()}
        thresholds = curves[self.maps[0]][0].tolist()
        return [Chart("localization/iou", "threshold of the attribution", "mean IoU", thresholds, lines)]

    def _images(self) -> Tensor:
        """Return how many images have a foreground."""
        return cast(EnergyPointingGame, self.metrics(self.maps[0])["epg"]).summary()["epg_images"]

    def calibrate(self) -> None:
        """Choose the threshold of each map by its mean IoU on the validation split that has just been counted."""
        best = {name: cast(IoUCurve, self.metrics(name)["iou"]).compute()["iou_best_threshold"] for name in self.maps}
        # A validation split without foregrounds chooses none.
        self.thresholds = {} if any(map(torch.isnan, best.values())) else {n: each.item() for n, each in best.items()}

    def _curve(self, name: str) -> tuple[Tensor, Tensor]:
        return cast(IoUCurve, self.metrics(name)["iou"]).curve()

    def _iou(self, name: str) -> dict[str, Tensor]:
        found: dict[str, Tensor] = cast(IoUCurve, self.metrics(name)["iou"]).compute()
        if not self.thresholds:
            return found
        thresholds, iou = self._curve(name)
        chosen = (thresholds - self.thresholds[name]).abs().argmin()
        return {"iou_auc": found["iou_auc"], "iou": iou[chosen], "iou_threshold": thresholds[chosen]}


class LegacyCometLocalization(_JudgedMaps):
    """Localisation as the released code of COMET computes it, to be compared with its published tables and no other.

    Keys are ``legacy_comet/pxap_<edges>`` and ``legacy_comet/iou_auc``, with the maps of :class:`Localization`. They
    leave out pixels with low scores, or are a mean IoU at a threshold picked by hand: never put them beside
    :class:`Localization`'s in one table; see :mod:`maskexp.metrics.functional.legacy_comet`.

    Args:
        edges: bins, of which the lowest is dropped (released code: 20 for COMET, 40 for its baselines).
        threshold: of the method's own attribution and the controls (released code: 0.9 for COMET).
        grad_cam_threshold: of Grad-CAM (released code: 0.6) and of the other maps that are computed after the fact.
        maps: which maps are judged: ``own`` and those registered in :mod:`maskexp.attribution`.
        seed: of the random control.

    Raises:
        ValueError: if there is no bin but the lowest.
    """

    def __init__(
        self,
        edges: int = 20,
        threshold: float = 0.9,
        grad_cam_threshold: float = 0.6,
        maps: Sequence[str] = DEFAULT_MAPS,
        seed: int = 0,
    ) -> None:
        super().__init__(maps, seed)
        self.edges = validated_edges(edges)
        after_the_fact = dict.fromkeys((name for name in self.explaining if name != OWN), grad_cam_threshold)
        self.threshold = dict.fromkeys(self.maps, threshold) | after_the_fact

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics."""
        require_foreground(spec, "LegacyCometLocalization")
        require_maps(network, self.explaining)
        self.create(
            lambda name: {
                f"pxap_{self.edges}": LegacyCometAveragePrecision(self.edges),
                "iou_auc": LegacyCometIoUAUC(self.threshold[name]),
            }
        )

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``legacy_comet/<metric>`` of each map, metric by metric; NaN if no image has a foreground."""
        names = list(self.metrics(self.maps[0]))
        values = {
            ResultKey("legacy_comet", name, judged): self.metrics(judged)[name].compute()
            for name in names
            for judged in self.maps
        }
        if values[ResultKey("legacy_comet", "iou_auc", self.maps[0])].isnan():
            rank_zero_warn(
                "LegacyCometLocalization found no foreground in any image of the split, and measures nothing"
            )
        return values
