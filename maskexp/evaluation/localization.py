"""Localisation: does the attribution lie on the foreground, by every measure and beside maps that know nothing."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.evaluation.attributions import OWN_MAPS, image_size, maps_of, require_foreground
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.metrics import (
    CONTROLS,
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
from maskexp.metrics.functional.max_box_accuracy import threshold_grid
from maskexp.metrics.functional.pointing_game import validated_tolerance
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["LegacyCometLocalization", "Localization"]

ROWS = (*OWN_MAPS, *(f"_{control}" for control in CONTROLS))
IN_WORDS = {row: row.strip("_").replace("_", " ") for row in ROWS} | {"": "own attribution", "_grad_cam": "Grad-CAM"}


class _Rows(Evaluation):
    """Metrics of the method's own attribution, of Grad-CAM, and of the controls that have to stand beside them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.rows = nn.ModuleDict()

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch: all rows are compared with the same foregrounds."""
        foreground = batch["foreground"]
        maps = maps_of(prediction, image_size(batch))
        for control in CONTROLS:
            maps[f"_{control}"] = control_attribution(control, foreground, batch["index"], seed=self.seed)
        for row, attribution in maps.items():
            for metric in self.metrics(row).values():
                label = {"label": batch["label"]} if isinstance(metric, PointingGame) else {}
                metric.update(attribution, foreground, batch["has_foreground"], **label)

    def metrics(self, row: str) -> dict[str, Metric]:
        """Return the metrics of one row by name."""
        return cast(dict[str, Metric], dict(cast(nn.ModuleDict, self.rows[f"row{row}"]).items()))

    def create(self, row: str, metrics: dict[str, Metric]) -> None:
        """Set the metrics of one row."""
        self.rows[f"row{row}"] = nn.ModuleDict(metrics)


class Localization(_Rows):
    """How well attributions find the foreground: every measure, for the method, Grad-CAM and the controls.

    Keys are ``localization/<metric>`` for the method's own attribution, ``…_grad_cam`` for Grad-CAM, and ``…_random``,
    ``…_centred_gaussian``, ``…_constant`` and ``…_ground_truth`` for the controls, without which none of the numbers
    can be read. The metrics, higher is better for all, are

    * ``epg``: energy pointing game;
    * ``pxap``: pixel average precision, pooled, 1000 bins; ``pxap_fine`` with 65536; ``pxap_image``, the mean over
      images; ``pxap_minmax``, each map stretched to [0, 1] first;
    * ``iou_auc``: area under the mean IoU over all thresholds; ``iou``: mean IoU at the threshold that is best on the
      *validation* split, ``iou_threshold``. On a split for which no threshold has been chosen, which is the validation
      split itself, these are ``iou_best`` and ``iou_best_threshold`` instead;
    * ``pointing_game`` and ``pointing_game_class_mean``;
    * with ``boxes``: ``max_box_acc`` (V1), ``max_box_acc_v2`` and its parts at IoU 0.3, 0.5 and 0.7.

    ``localization/images`` is how many images have a foreground. What COMET's released code calls by the names of two
    of these is in :class:`LegacyCometLocalization`.

    Args:
        boxes: whether to compare boxes too; needs scipy, runs on the CPU, and takes seconds an image of 224 × 224
            pixels, most of them for the random control.
        tolerance: of the pointing game in pixels (TorchRay: 15, which means little on pictures of 64 pixels).
        seed: of the random control.

    Raises:
        ValueError: if the tolerance is negative.
        ModuleNotFoundError: if there are boxes to compare and scipy is missing.
    """

    needs_validation = True

    def __init__(self, boxes: bool = False, tolerance: float = 15, seed: int = 0) -> None:
        super().__init__(seed)
        if boxes:
            threshold_grid(1)  # refuses now, rather than after the test has begun, if scipy is missing
        self.boxes, self.tolerance = boxes, validated_tolerance(tolerance)
        self.thresholds: dict[str, float] = {}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; thresholds that were chosen on the validation split are kept."""
        require_foreground(spec, "Localization")
        for row in ROWS:
            metrics: dict[str, Metric] = {
                "epg": EnergyPointingGame(),
                "pxap": PixelAveragePrecision(),
                "pxap_fine": PixelAveragePrecision(65536),
                "pxap_image": PixelAveragePrecision(average="image"),
                "pxap_minmax": PixelAveragePrecision(normalize=True),
                "iou": IoUCurve(),
                "pointing_game": PointingGame(spec.num_classes, tolerance=self.tolerance),
            }
            if self.boxes:
                metrics |= {"max_box_acc": MaxBoxAccuracy("v1"), "max_box_acc_v2": MaxBoxAccuracy("v2")}
            self.create(row, metrics)

    def compute(self) -> dict[str, Tensor]:
        """Return ``localization/<metric><row>``, metric by metric.

        Raises:
            ValueError: if no image of the split has a foreground.
        """
        images = cast(EnergyPointingGame, self.metrics("")["epg"]).summary()["epg_images"]
        if images == 0:
            raise ValueError("Localization found no foreground in any image of this split; choose one with foregrounds")
        values: dict[str, dict[str, Tensor]] = {}
        for row in ROWS:
            for name, metric in self.metrics(row).items():
                answer = self._iou(row) if name == "iou" else metric.compute()
                for key, value in (answer if isinstance(answer, dict) else {name: answer}).items():
                    values.setdefault(key, {})[row] = value
        by_name = {f"localization/{key}{row}": value for key, rows in values.items() for row, value in rows.items()}
        return by_name | {"localization/images": images}

    def charts(self) -> list[Chart]:
        """Return the mean IoU over the threshold, one line a row."""
        curves = {row: self._curve(row) for row in ROWS}
        lines = {IN_WORDS[row]: iou.tolist() for row, (_, iou) in curves.items()}
        return [Chart("localization/iou", "threshold of the attribution", "mean IoU", curves[""][0].tolist(), lines)]

    def calibrate(self) -> None:
        """Choose the threshold of each row by its mean IoU on the validation split that has just been counted."""
        best = {row: cast(IoUCurve, self.metrics(row)["iou"]).compute()["iou_best_threshold"] for row in ROWS}
        self.thresholds = {row: threshold.item() for row, threshold in best.items()}

    def _curve(self, row: str) -> tuple[Tensor, Tensor]:
        return cast(IoUCurve, self.metrics(row)["iou"]).curve()

    def _iou(self, row: str) -> dict[str, Tensor]:
        found: dict[str, Tensor] = cast(IoUCurve, self.metrics(row)["iou"]).compute()
        if not self.thresholds:
            return found
        thresholds, iou = self._curve(row)
        chosen = (thresholds - self.thresholds[row]).abs().argmin()
        return {"iou_auc": found["iou_auc"], "iou": iou[chosen], "iou_threshold": thresholds[chosen]}


class LegacyCometLocalization(_Rows):
    """Localisation as the released code of COMET computes it, to be compared with its published tables and no other.

    Keys are ``legacy_comet/pxap_<edges>`` and ``legacy_comet/iou_auc``, with the rows of :class:`Localization`. They
    leave out pixels with low scores, or are a mean IoU at a threshold picked by hand: never put them beside
    :class:`Localization`'s in one table; see :mod:`maskexp.metrics.functional.legacy_comet`.

    Args:
        edges: bins, of which the lowest is dropped (released code: 20 for COMET, 40 for its baselines).
        threshold: of the method's own attribution and the controls (released code: 0.9 for COMET).
        grad_cam_threshold: of Grad-CAM (released code: 0.6).
        seed: of the random control.

    Raises:
        ValueError: if there is no bin but the lowest.
    """

    def __init__(self, edges: int = 20, threshold: float = 0.9, grad_cam_threshold: float = 0.6, seed: int = 0) -> None:
        super().__init__(seed)
        self.edges = validated_edges(edges)
        self.threshold = dict.fromkeys(ROWS, threshold) | {"_grad_cam": grad_cam_threshold}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics."""
        require_foreground(spec, "LegacyCometLocalization")
        for row in ROWS:
            self.create(
                row,
                {
                    f"pxap_{self.edges}": LegacyCometAveragePrecision(self.edges),
                    "iou_auc": LegacyCometIoUAUC(self.threshold[row]),
                },
            )

    def compute(self) -> dict[str, Tensor]:
        """Return ``legacy_comet/<metric><row>``, metric by metric.

        Raises:
            ValueError: if no image of the split has a foreground.
        """
        values = {(name, row): metric.compute() for row in ROWS for name, metric in self.metrics(row).items()}
        if values["iou_auc", ""].isnan():
            raise ValueError(
                "LegacyCometLocalization found no foreground in any image of this split; choose one with foregrounds"
            )
        names = list(self.metrics(""))
        return {f"legacy_comet/{name}{row}": values[name, row] for name in names for row in ROWS}
