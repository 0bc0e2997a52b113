"""The numbers that every method is judged by, from the three contracts alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric

from maskexp.attribution import DEFAULT_MAPS
from maskexp.evaluation.attributions import maps_of
from maskexp.evaluation.base import Evaluation, ExplainableClassifier
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import with_foreground
from maskexp.metrics import EnergyPointingGame, GroupAccuracy, MeanArea, PixelAveragePrecision
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

__all__ = ["StandardMetrics"]

HALF = 0.5
"""Above it a mask shows a pixel, as in the audit."""
MAPS = DEFAULT_MAPS
"""What is judged on every split: the method's own map, and Grad-CAM."""


class StandardMetrics(Evaluation):
    """What is measured on every split, always.

    The result has the keys of :class:`~maskexp.metrics.GroupAccuracy`. Where the data has a foreground it also has
    ``epg`` and ``pxap`` of the method's own attribution, ``epg_grad_cam`` and ``pxap_grad_cam`` of Grad-CAM, which is
    the same map for every method, ``epg_baseline``, the EPG of a constant map on the same images, and the numbers of
    images behind them: ``n_epg``, ``n_pxap``, and ``n_empty_foreground``, those whose foreground has no pixel, for
    instance because it vanishes at this size. EPG leaves these out; to PxAP they are background.

    Where the network has masks there is ``mask_area``, the mean of the mask that explains the prediction,
    ``empty_masks``, the share of images in whose mask nothing is above one half, so that it shows nothing, and
    ``mask_area_stage_<i>`` of each mask, from 1, in the order of :attr:`Prediction.masks <maskexp.types.Prediction>`.
    What else the network reports of each image (:attr:`~maskexp.models.network.Network.reported`) is averaged.
    """

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics that this data and this network have a meaning for."""
        self.accuracy = GroupAccuracy(spec.num_groups, spec.train_group_counts, spec.group_names)
        self.localization = nn.ModuleDict()
        if spec.foreground != "none":
            self.localization = nn.ModuleDict(
                {name: nn.ModuleDict({"epg": EnergyPointingGame(), "pxap": PixelAveragePrecision()}) for name in MAPS}
            )
            self.empty = SumMetric().set_dtype(torch.float64)
        self.areas, self.emptiness = nn.ModuleDict(), nn.ModuleDict()
        if network.masked_stages:
            self.emptiness["empty_masks"] = MeanMetric().set_dtype(torch.float64)
            self.areas["mask_area"] = MeanArea()
            for stage in range(1, network.masked_stages + 1):
                self.areas[f"mask_area_stage_{stage}"] = MeanArea()
        self.reported = nn.ModuleDict({name: MeanMetric().set_dtype(torch.float64) for name in network.reported})

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch: its prediction, with its attributions, and its truth."""
        self.accuracy.update(prediction.logits, batch["label"], batch["group"])
        if self.localization:
            foreground, known = batch["foreground"], batch["has_foreground"]
            self.empty.update((known & ~with_foreground(batch)).sum())
            for name, attribution in maps_of(classifier, batch, prediction, MAPS).items():
                for metric in _metrics(self.localization[name]).values():
                    metric.update(attribution, foreground, known)
        for name, metric in _metrics(self.areas).items():
            stage = name.removeprefix("mask_area").removeprefix("_stage_")
            metric.update(prediction.masks[int(stage) - 1] if stage else prediction.attribution)
        for metric in _metrics(self.emptiness).values():
            metric.update((cast(Tensor, prediction.attribution).flatten(1).amax(dim=1) <= HALF).double())
        for name, metric in _metrics(self.reported).items():
            metric.update(prediction.extras[name])

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return all values, over every rank."""
        values = {ResultKey("", name): value for name, value in self.accuracy.compute().items()}
        for judged, metrics in self.localization.items():
            for name, metric in _metrics(metrics).items():
                values[ResultKey("", name, judged)] = metric.compute()
                if isinstance(metric, EnergyPointingGame) and judged == OWN:
                    # an EPG says nothing unless its baseline, and the number of images, stand beside it
                    summary = metric.summary()
                    values[ResultKey("", "epg_baseline")] = summary["epg_baseline"]
                    empty = self.empty.compute()
                    values[ResultKey("", "n_epg")] = summary["epg_images"]
                    values[ResultKey("", "n_pxap")] = summary["epg_images"] + empty
                    values[ResultKey("", "n_empty_foreground")] = empty
        for metrics in (self.areas, self.emptiness, self.reported):
            values |= {ResultKey("", name): metric.compute() for name, metric in _metrics(metrics).items()}
        return values


def _metrics(modules: nn.Module) -> dict[str, Metric]:
    return cast(dict[str, Metric], dict(cast(nn.ModuleDict, modules).items()))
