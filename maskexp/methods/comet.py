r"""COMET: an explanation that is sufficient and complete, because a second classifier finds nothing in what it leaves.

Zhang, Lee, Wang: "Comprehensive Attribution: Inherently Explainable Vision Model with Feature Detector", ECCV 2024
(arXiv 2407.19308).

The objective of the paper (Eq. 7) is :math:`L = L_P(x_s) - a L_D(x_{1-s}) + b R(S)` with cross-entropies
:math:`L_P, L_D` of predictor and detector and :math:`R = \max(\bar S - t, 0)`, minimised over selector and predictor.
The released code minimises :math:`L_P + a \max(L_P - L_D + g, 0) + b R` over the selector, and :math:`L_P` over the
predictor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.inputs import Fill, create_input_masking
from maskexp.methods.base import Method, batch_accuracy
from maskexp.methods.erm import ERM
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models.comet import COMETNetwork, DetectorKind, DetectorNorm, PredictorKind
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

Objective = Literal["paper", "hinge"]


class COMET(Method):
    r"""COMET and its variants; the defaults are the paper's.

    One backward pass serves all networks. The loss that is differentiated is :math:`L_P + L_D + b R`; where the masks
    enter predictor and detector, the gradient that goes on to the selector is scaled by what the objective gives the
    two: 1 and :math:`-a` for the paper's, :math:`1 + a h` and :math:`-a h` for the hinge's, with :math:`h = 1` while
    the hinge is active. So the predictor learns from :math:`L_P` alone, a trainable detector from :math:`L_D` alone,
    and under DDP all gradients are synchronised. The hinge is decided on the mean over all ranks.

    Args:
        objective: "paper" (Eq. 7), or "hinge" (released code).
        detector_weight: Weight a of the detector's loss, or of the hinge, at least 0 (paper: 5; released code, with the
            hinge: 4).
        area_weight: Weight b of the area, at least 0 (paper and released code: 100).
        area_budget: Mask area t that is not penalised, as a share of the image, in (0, 1) (paper: 0.1; released
            code: 0.6).
        gap: Margin g by which the detector's loss has to exceed the predictor's until the hinge is satisfied, at least
            0 (released code: 2, for 9 classes, where chance has ln 9 = 2.2); the objective "paper" does not use it.
        detector: "fixed" (paper), "trainable" (COMET-TD), or "none" (COMET without detector).
        predictor: "train" (paper), or "fixed" (COMET-FP).
        detector_bn: Statistics of the batch norms of a fixed detector: its own, "eval" (paper), or those of the "batch"
            (released code).
        hiding: Name of a way of hiding, or a colour #rrggbb (paper: the mean colour of the data, which "grey" is for
            ImageNet).
        backbone: Network of the predictor, by timm's name or as one of our variants (paper: resnet18).
        weights: First weights of the predictor: "timm" for the hub's, a file, or null for random ones (paper: null).
        detector_backbone: Network of the detector; that of the predictor if null (paper: the same).
        detector_checkpoint: Checkpoint of an ERM, the classifier of whole images that a fixed detector and a fixed
            predictor start from; "maskexp fit" trains it first if null.
        detector_epochs: Epochs of that training, at least 1; as many as COMET's own if null (inferred).
        selector: Network of the selector: "lraspp_mobilenet_v3_large" (paper), or a network of timm (ours).
        selector_weights: First weights of the selector's backbone: null for random ones (paper), "imagenet" for the
            hub's (released code), or a file.
        selector_stride: Pixels a cell of the finer map of a selector on a network of timm (paper's selector: 8).
        lr: Learning rate of all layers that are new, at least 0 (paper and released code: 5e-4).
        backbone_lr: Learning rate of the backbones, also the selector's, at least 0 (paper and released code: 5e-4).
        weight_decay: Weight decay, at least 0 (released code: 0.03, there of biases and norms too).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``area_budget`` is not in (0, 1), a weight or ``gap`` is negative, or a checkpoint is given that
            nothing would start from.
    """

    soft_labels = True
    renamed_arguments: ClassVar[Mapping[str, str]] = {
        "a": "detector_weight",
        "b": "area_weight",
        "t": "area_budget",
    }

    def __init__(
        self,
        objective: Objective = "paper",
        detector_weight: float = 5.0,
        area_weight: float = 100.0,
        area_budget: float = 0.1,
        gap: float = 2.0,
        detector: DetectorKind = "fixed",
        predictor: PredictorKind = "train",
        detector_bn: DetectorNorm = "eval",
        hiding: str = "grey",
        backbone: str = "resnet18",
        weights: str | None = None,
        detector_backbone: str | None = None,
        detector_checkpoint: str | None = None,
        detector_epochs: int | None = None,
        selector: str = "lraspp_mobilenet_v3_large",
        selector_weights: str | None = None,
        selector_stride: int = 8,
        lr: float = 5e-4,
        backbone_lr: float = 5e-4,
        weight_decay: float = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone, weights=weights, lr=lr, backbone_lr=backbone_lr, weight_decay=weight_decay, **kwargs
        )
        if not 0 < area_budget < 1:
            raise ValueError(
                f"area_budget is {area_budget}; the mask area that is not penalised must lie in (0, 1), as a share of "
                "the image"
            )
        weights_of_terms = {"detector_weight": detector_weight, "area_weight": area_weight, "gap": gap}
        for name, value in weights_of_terms.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be at least 0 and finite")
        self.objective_name = objective
        self.detector_weight, self.gap = detector_weight, gap
        self.area_weight, self.area_budget = area_weight, area_budget
        soft = isinstance(create_input_masking(hiding), Fill)
        self.begins_pretrained = "fixed" in (detector, predictor) or not soft
        if detector_checkpoint is not None and not self.begins_pretrained:
            raise ValueError(
                f"detector_checkpoint is given, but with detector: {detector} and predictor: {predictor} nothing "
                "starts from a pre-trained classifier; omit it"
            )
        self.detector_backbone = detector_backbone or backbone
        self.detector_checkpoint = detector_checkpoint
        self.detector_epochs = detector_epochs
        self.selector_weights = selector_weights
        self.network_options: dict[str, Any] = {
            "detector_backbone": detector_backbone,
            "detector": detector,
            "predictor": predictor,
            "detector_bn": detector_bn,
            "hiding": hiding,
            "selector": selector,
            "selector_stride": selector_stride,
        }
        self._selector_weights: str | None = None

    # --- the networks --------------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return selector, predictor and detector."""
        return COMETNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            selector_weights=self._selector_weights,
            **self.network_options,
        )

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained classifier of whole images."""
        begins = pretrained and not self.is_built
        if begins:
            self._check_gap(spec)
        self._selector_weights = self.selector_weights if begins else None
        super().build(spec, pretrained)
        if begins and self.begins_pretrained:
            self._adopt()

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier of whole images, unless it is given or nobody needs it."""
        self._check_gap(spec)
        with torch.device("meta"):  # what the networks would refuse is refused before anything is trained
            self.configure_network(spec, None)
        if self.detector_checkpoint is not None or not self.begins_pretrained:
            return None
        arguments = common_arguments(self.hparams) | {"backbone": self.detector_backbone}
        return Pretraining("detector", "ERM", arguments, self.detector_epochs, "detector_checkpoint")

    def _check_gap(self, spec: DataSpec) -> None:
        """Refuse data on which the hinge cannot be content."""
        chance = math.log(spec.num_classes)
        if self.objective_name == "hinge" and self.gap >= chance:
            raise ValueError(
                f"gap is {self.gap:g}, but a detector that finds nothing among {spec.num_classes} classes has a loss "
                f"of ln {spec.num_classes} = {chance:.3f}; choose a smaller --model.gap, e.g. {0.9 * chance:.2f}"
            )

    def _adopt(self) -> None:
        """Give the pre-trained classifier's weights and statistics to all parts that begin as it."""
        spec = cast(DataSpec, self.spec)
        trained = begin_with(
            self.detector_checkpoint, ERM, "detector", self, spec, backbone_argument="detector_backbone"
        )
        for part in cast(COMETNetwork, self.network).begin_pretrained:
            part.load_state_dict(trained.network.state_dict())

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the predictor's loss, what the detector's contributes, and the weighted area."""
        loss_p, loss_d = _cross_entropies(prediction, batch)
        if self.objective_name == "paper":
            contributed = -self.detector_weight * loss_d.detach()
            scale_kept, scale_left = torch.ones_like(contributed), torch.full_like(contributed, -self.detector_weight)
        else:
            margin = (loss_p - loss_d).detach() + self.gap
            active = (_mean_over_ranks(margin) > 0).to(margin.dtype)
            contributed = self.detector_weight * active * margin
            scale_kept, scale_left = 1 + self.detector_weight * active, -self.detector_weight * active
            prediction.extras["hinge_active"] = active
        _scale_gradient(prediction.extras["kept"], scale_kept)
        _scale_gradient(prediction.extras["left"], scale_left)
        return {
            "loss_predictor": loss_p,
            "loss_detector": loss_d + (contributed - loss_d.detach()),
            "loss_area": self.area_weight * area_excess(prediction.masks[0], self.area_budget),
        }

    @torch.no_grad()
    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the detector's cross-entropy and accuracy on what is left, R, and whether the hinge is active."""
        detected = cast(Tensor, prediction.extras["detector_logits"])
        values = {
            "ce_detector": _cross_entropies(prediction, batch)[1],
            "acc_detector": batch_accuracy(detected, batch["label"]),
            "area_excess": area_excess(prediction.masks[0], self.area_budget),
        }
        if "hinge_active" in prediction.extras:
            values["hinge_active"] = cast(Tensor, prediction.extras["hinge_active"])
        return values


def area_excess(mask: Tensor, budget: float) -> Tensor:
    r"""Return :math:`R`, the mean over images of :math:`\max(\bar S_i - t, 0)` (paper, below Eq. 7), in fp32.

    Args:
        mask: ``(B, 1, H, W)`` in [0, 1].
        budget: mask area :math:`t` that is not penalised.
    """
    return (mask.float().mean(dim=(1, 2, 3)) - budget).relu().mean()


def _cross_entropies(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return L_P and L_D, in fp32 whatever the precision of the networks."""
    detected = cast(Tensor, prediction.extras["detector_logits"])
    return F.cross_entropy(prediction.logits.float(), batch["label"]), F.cross_entropy(detected.float(), batch["label"])


def _scale_gradient(mask: Any, scale: Tensor) -> None:
    """Scale the gradient that goes on from a classifier to the selector through a mask."""
    if mask.requires_grad:
        mask.register_hook(lambda gradient: gradient * scale.to(gradient.dtype))


def _mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a scalar over all ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    everywhere = value.clone()
    dist.all_reduce(everywhere, op=dist.ReduceOp.SUM)
    return everywhere / dist.get_world_size()
