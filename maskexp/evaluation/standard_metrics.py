"""The numbers that every method is judged by, from the three contracts alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from maskexp.evaluation.base import Evaluation, ExplainableClassifier
from maskexp.metrics import EnergyPointingGame, GroupAccuracy, MeanArea, PixelAveragePrecision
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction, resize_map


class StandardMetrics(Evaluation):
    """What is measured on every split, always.

    The result has the keys of :class:`~maskexp.metrics.GroupAccuracy`. Where the data has a foreground it also has
    ``epg`` and ``pxap`` of the method's own attribution, ``epg_grad_cam`` and ``pxap_grad_cam`` of Grad-CAM, which is
    the same map for every method, and ``epg_baseline``, the EPG of a constant map on the same images. Where the network
    has masks it has ``mask_area``, the mean of the mask that explains the prediction, and ``mask_area_stage_<i>`` of
    each one, from 1, in the order of :attr:`Prediction.masks <maskexp.types.Prediction>`. What else the network reports
    of each image (:attr:`~maskexp.models.network.Network.reported`) is averaged.
    """

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics that this data and this network have a meaning for."""
        self.accuracy = GroupAccuracy(spec.num_groups, spec.train_group_counts, spec.group_names)
        self.localization = nn.ModuleDict()
        if spec.foreground != "none":
            for suffix in ("", "_grad_cam"):
                self.localization[f"epg{suffix}"] = EnergyPointingGame()
                self.localization[f"pxap{suffix}"] = PixelAveragePrecision()
        self.areas = nn.ModuleDict()
        if network.masked_stages:
            self.areas["mask_area"] = MeanArea()
            for stage in range(1, network.masked_stages + 1):
                self.areas[f"mask_area_stage_{stage}"] = MeanArea()
        self.reported = nn.ModuleDict({name: MeanMetric().set_dtype(torch.float64) for name in network.reported})

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch: its prediction, with ``attribution`` and ``extras["grad_cam"]`` filled in, and its truth."""
        self.accuracy.update(prediction.logits, batch["label"], batch["group"])
        if self.localization:
            self._count_localization(prediction, batch)
        if self.areas:
            self._update(self.areas, "mask_area", prediction.attribution)
            for stage, mask in enumerate(prediction.masks, start=1):
                self._update(self.areas, f"mask_area_stage_{stage}", mask)
        for name in self.reported:
            self._update(self.reported, name, cast(Tensor, prediction.extras[name]))

    def compute(self) -> dict[str, Tensor]:
        """Return all values by name, over every rank."""
        values: dict[str, Tensor] = self.accuracy.compute()
        for modules in (self.localization, self.areas, self.reported):
            for name, metric in cast(dict[str, Metric], dict(modules.items())).items():
                values[name] = metric.compute()
                if name == "epg":  # an EPG says nothing unless its baseline stands beside it
                    values["epg_baseline"] = cast(EnergyPointingGame, metric).summary()["epg_baseline"]
        return values

    def _count_localization(self, prediction: Prediction, batch: Batch) -> None:
        foreground, known = batch["foreground"], batch["has_foreground"]
        size = (foreground.shape[-2], foreground.shape[-1])
        cam = resize_map(cast(Tensor, prediction.extras["grad_cam"]), size, "bilinear")
        for suffix, attribution in (("", prediction.attribution_at(size)), ("_grad_cam", cam)):
            for name in ("epg", "pxap"):
                self._update(self.localization, f"{name}{suffix}", attribution, foreground, known)

    @staticmethod
    def _update(metrics: nn.ModuleDict, name: str, *values: Tensor | None) -> None:
        cast(Metric, metrics[name]).update(*values)
