"""The numbers that every method is judged by, from the three contracts alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.metrics import EnergyPointingGame, GroupAccuracy, MeanArea, PixelAveragePrecision
from maskexp.types import Batch, DataSpec, Prediction, resize_map


class Evaluation(nn.Module):
    """All metrics of one split, filled batch by batch.

    The result has the keys of :class:`~maskexp.metrics.GroupAccuracy`. Where the data has a foreground it also has
    ``epg`` and ``pxap`` of the method's own attribution, ``epg_grad_cam`` and ``pxap_grad_cam`` of Grad-CAM, which is
    the same map for every method, and ``epg_baseline``, the EPG of a constant map on the same images. Where the network
    has masks it has ``mask_area``, the active fraction of their union, and ``mask_area_stage_<i>`` of each, from 1, the
    deepest.

    All metrics exist from the start, so that every rank reduces the same ones even if it has seen no batch.

    Args:
        spec: what the data say about themselves.
        masked_stages: number of masks in a prediction of the network.
    """

    def __init__(self, spec: DataSpec, masked_stages: int = 0) -> None:
        super().__init__()
        self.accuracy = GroupAccuracy(spec.num_groups, spec.train_group_counts, spec.group_names)
        self.localization = nn.ModuleDict()
        if spec.foreground != "none":
            for suffix in ("", "_grad_cam"):
                self.localization[f"epg{suffix}"] = EnergyPointingGame()
                self.localization[f"pxap{suffix}"] = PixelAveragePrecision()
        self.areas = nn.ModuleDict()
        if masked_stages:
            self.areas["mask_area"] = MeanArea()
            for stage in range(1, masked_stages + 1):
                self.areas[f"mask_area_stage_{stage}"] = MeanArea()

    @torch.no_grad()
    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Count a batch: its prediction, with ``attribution`` and ``extras["grad_cam"]`` filled in, and its truth."""
        self.accuracy.update(prediction.logits, batch["label"], batch["group"])
        if self.localization:
            self._count_localization(prediction, batch)
        if self.areas:
            self._update(self.areas, "mask_area", prediction.attribution)
            for stage, mask in enumerate(prediction.masks, start=1):
                self._update(self.areas, f"mask_area_stage_{stage}", mask)

    def compute(self) -> dict[str, Tensor]:
        """Return all values by name, over every rank."""
        values: dict[str, Tensor] = self.accuracy.compute()
        for name, metric in self._by_name().items():
            values[name] = metric.compute()
            if name == "epg":  # an EPG says nothing unless its baseline stands beside it
                values["epg_baseline"] = cast(EnergyPointingGame, metric).summary()["epg_baseline"]
        return values

    def reset(self) -> None:
        """Forget all batches."""
        self.accuracy.reset()
        for metric in self._by_name().values():
            metric.reset()

    def _count_localization(self, prediction: Prediction, batch: Batch) -> None:
        foreground, known = batch["foreground"], batch["has_foreground"]
        size = (foreground.shape[-2], foreground.shape[-1])
        cam = resize_map(cast(Tensor, prediction.extras["grad_cam"]), size, "bilinear")
        for suffix, attribution in (("", prediction.attribution_at(size)), ("_grad_cam", cam)):
            for name in ("epg", "pxap"):
                self._update(self.localization, f"{name}{suffix}", attribution, foreground, known)

    def _by_name(self) -> dict[str, Metric]:
        return cast(dict[str, Metric], dict(self.localization.items()) | dict(self.areas.items()))

    @staticmethod
    def _update(metrics: nn.ModuleDict, name: str, *values: Tensor | None) -> None:
        cast(Metric, metrics[name]).update(*values)
