r"""AIM: self-supervised masks on a top-down path.

Alshami, Agnihotri, Schiele, Keuper: "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV 2025.

The objective is :math:`L = \lambda \sum_i (r_i - \tau_i)^2 + \sum_i L_{cls}^{(i)}`, where :math:`r_i` is the active
fraction of the mask of stage *i*, :math:`\tau_i` its annealed target and :math:`L_{cls}^{(i)}` the cross-entropy of the
classifier on that stage's sparse features; the merged head has a cross-entropy of its own.

Beside it stands a variant of ours, without a threshold to tune (the paper names the hand-tuned τ as its limit):
:math:`L = \sum_i w_i r_i + \sum_i L_{cls}^{(i)}`, whose :math:`w_i` are learned so that no stage's cross-entropy
exceeds that of a classifier of the same stage without its mask by more than a margin; see
:class:`~maskexp.masking.area_control.AreaMultiplier`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.area_control import AreaMultiplier
from maskexp.methods.stage_masked import StageMasked
from maskexp.models import AIMNetwork
from maskexp.models.aim import EstimatorInput
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class AIM(StageMasked):
    """AIM[stages, tau].

    Args:
        merged_weight: Weight of the cross-entropy of the merged head, at least 0 (inferred: 1).
        stage_weight: Weight of the cross-entropies of the stage classifiers, at least 0 (paper: 1).
        feature_width: Channels of the feature branches and of the fused map, at least 1 (inferred from FPN and from the
            overhead that the paper states: 256).
        branch_kernel: Side of the second convolution of a feature branch, an odd number (inferred from FPN: 3); 1 keeps
            the receptive field of a cell as small as the backbone's (ours).
        estimator_input: What the mask estimator of a stage reads: "stage" is the feature of its own stage (paper, as
            summarised), "pyramid" that of all deeper stages as well, upsampled, so that the fine mask knows what only
            deep features know (ours).
        margin: With tau "auto", by how many nats a stage's cross-entropy may exceed that of its unmasked features,
            above 0; 0.1 if null (ours).
        sparse_below: In evaluation, compute the feature branch of a stage at its active positions only, where these are
            at most this share of all, in [0, 1]; 0 computes every position (ours: 0).
        kwargs: Arguments of :class:`~maskexp.methods.stage_masked.StageMasked`, "stages" and "tau" among them, and of
            :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if a weight is negative or infinite, the margin is not above 0, or an argument of its base is
            impossible.
    """

    soft_labels = True
    finds_area = True

    def __init__(
        self,
        merged_weight: float = 1.0,
        stage_weight: float = 1.0,
        feature_width: int = 256,
        branch_kernel: int = 3,
        estimator_input: EstimatorInput = "stage",
        margin: float | None = None,
        sparse_below: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, weight in (("merged_weight", merged_weight), ("stage_weight", stage_weight)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} is {weight}; it must be at least 0 and finite")
        if margin is not None and not 0 < margin < math.inf:
            raise ValueError(f"margin is {margin}; it must be above 0 and finite, in nats")
        if margin is not None and self.tau != "auto":
            raise ValueError(f'margin is {margin}, but only tau "auto" keeps a margin; omit it, or set tau to auto')
        found = self.tau == "auto"
        self.multiplier = AreaMultiplier(self.mask_options["stages"], margin or 0.1) if found else None
        self.merged_weight = merged_weight
        self.stage_weight = stage_weight
        self.network_options: dict[str, Any] = self.mask_options | {
            "feature_width": feature_width,
            "branch_kernel": branch_kernel,
            "estimator_input": estimator_input,
            "sparse_below": sparse_below,
            "unmasked_heads": found,
        }

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return AIM's network on the last ``stages`` stages of the backbone."""
        return AIMNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            **self.network_options,
        )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the area loss, the cross-entropy of the merged head and those of the stage classifiers."""
        label = batch["label"]
        merged = F.cross_entropy(prediction.logits, label)
        stage_logits = prediction.extras["stage_logits"]
        stages = torch.stack([F.cross_entropy(logits, label) for logits in stage_logits] or [merged])
        if self.multiplier is None:
            terms = self.area_terms(prediction.masks)
        else:
            unmasked = torch.stack([F.cross_entropy(each, label) for each in prediction.extras["unmasked_logits"]])
            areas = torch.stack([mask.float().mean() for mask in prediction.masks])
            terms = {"loss_area": (self.multiplier.weights.to(areas) * areas).sum(), "loss_unmasked": unmasked.sum()}
            self._losses = stages.detach(), unmasked.detach()
        terms["loss_cls"] = self.merged_weight * merged
        if stage_logits:
            terms["loss_stages"] = self.stage_weight * stages.sum()
        return terms

    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the learned weights of the areas, or the target area that was found, where there are any."""
        if self.multiplier is None:
            return super().monitor(prediction, batch)
        return {f"area_weight_stage_{stage}": w.float() for stage, w in enumerate(self.multiplier.weights, start=1)}

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Learn the weights of the areas."""
        if self.multiplier is not None and self._losses is not None:
            self.multiplier.update(*self._losses, self._largest_weight())

    _losses: tuple[Tensor, Tensor] | None = None

    def _largest_weight(self) -> float:
        """What the weight of an area may be in this epoch."""
        begun = self.current_epoch + 1
        return math.inf if begun > self.anneal_epochs else self.area_weight * begun / self.anneal_epochs
