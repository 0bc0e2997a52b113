r"""COMET: an explanation that is sufficient and complete, because a second classifier finds nothing in what it leaves.

Zhang, Lee, Wang: "Comprehensive Attribution: Inherently Explainable Vision Model with Feature Detector", ECCV 2024
(arXiv 2407.19308).

The paper's objective (Eq. 7) is :math:`L = L_P(x_s) - a L_D(x_{1-s}) + b R(S)` with cross-entropies :math:`L_P, L_D` of
predictor and detector and :math:`R = \max(\bar S - t, 0)`, minimised over selector and predictor. The released code
minimises :math:`L_P + a \max(L_P - L_D + g, 0) + b R` over the selector, and :math:`L_P` over the predictor.
"""

from __future__ import annotations

import math
from inspect import signature
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.inputs import Fill, create_input_masking
from maskexp.methods.base import Method, batch_accuracy
from maskexp.methods.checkpoint import CheckpointError, check_classes
from maskexp.methods.erm import ERM
from maskexp.methods.loading import load_method
from maskexp.methods.pretraining import Pretraining
from maskexp.models.comet import COMETNetwork, DetectorKind, DetectorNorm, PredictorKind
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

Objective = Literal["paper", "hinge"]

_DEFAULT = {name: parameter.default for name, parameter in signature(COMETNetwork).parameters.items()}
"""The network's defaults, which stand in its own signature."""


class COMET(Method):
    r"""COMET and its variants; the defaults are the paper's.

    One backward pass serves all networks. The loss that is differentiated is :math:`L_P + L_D + b R`; where the masks
    enter predictor and detector, the gradient that goes on to the selector is scaled by what the objective gives the
    two: 1 and :math:`-a` for the paper's, :math:`1 + a h` and :math:`-a h` for the hinge's, with :math:`h = 1` while
    the hinge is active. So the predictor learns from :math:`L_P` alone, a trainable detector from :math:`L_D` alone,
    and under DDP all gradients are synchronised. The hinge is decided on the mean over all ranks.

    Args:
        objective: ``paper`` (Eq. 7) or ``hinge`` (released code).
        a: weight of the detector's loss, or of the hinge (paper: 5; released code, with the hinge: 4).
        b: weight of the area (both: 100).
        t: share of the picture that a mask may have for nothing, in (0, 1) (paper: 0.1; released code: 0.6).
        gap: :math:`g`, by how much the detector's loss has to exceed the predictor's until the hinge is content
            (released code: 2, for 9 classes, where chance has ln 9 = 2.2). ``paper`` does not use it.
        detector: ``fixed`` (paper), ``trainable`` (COMET-TD), or ``none`` (w/o detector).
        predictor: ``train`` (paper), or ``fixed`` (COMET-FP).
        detector_bn: statistics of a fixed detector's batch norms, ``eval`` or ``batch`` (released code).
        hiding: name of a way of hiding, or a colour ``#rrggbb``; the paper paints the data's mean colour.
        backbone: of the predictor (paper: resnet18).
        weights: of the predictor (paper: none).
        detector_backbone: as ``backbone`` if None.
        detector_checkpoint: a trained ERM, the classifier of whole images that a fixed detector and a fixed predictor
            begin as. ``maskexp fit`` trains it first if None.
        detector_epochs: of that training; as many as COMET's own if None.
        selector: ``lraspp_mobilenet_v3_large`` (paper), or a network of timm (:class:`~maskexp.models.Selector`).
        selector_weights: of the selector's backbone: None (paper), ``imagenet`` (released code) or a file.
        selector_stride: of the finer map of a selector on a network of timm.
        lr: of all layers that are new (both: 5e-4).
        backbone_lr: of the backbones, the selector's included (both: 5e-4).
        weight_decay: (released code: 0.03, there of biases and norms, too).
        kwargs: further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``t`` is not in (0, 1), a weight or ``gap`` is negative, or a checkpoint is given that nothing
            would begin with.
    """

    soft_labels = True

    def __init__(
        self,
        objective: Objective = "paper",
        a: float = 5.0,
        b: float = 100.0,
        t: float = 0.1,
        gap: float = 2.0,
        detector: DetectorKind = _DEFAULT["detector"],
        predictor: PredictorKind = _DEFAULT["predictor"],
        detector_bn: DetectorNorm = _DEFAULT["detector_bn"],
        hiding: str = _DEFAULT["hiding"],
        backbone: str = "resnet18",
        weights: str | None = None,
        detector_backbone: str | None = None,
        detector_checkpoint: str | None = None,
        detector_epochs: int | None = None,
        selector: str = _DEFAULT["selector"],
        selector_weights: str | None = None,
        selector_stride: int = _DEFAULT["selector_stride"],
        lr: float = 5e-4,
        backbone_lr: float = 5e-4,
        weight_decay: float = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone, weights=weights, lr=lr, backbone_lr=backbone_lr, weight_decay=weight_decay, **kwargs
        )
        if not 0 < t < 1:
            raise ValueError(f"t is {t}; the share of the picture that a mask may have must lie in (0, 1)")
        for name, value in (("a", a), ("b", b), ("gap", gap)):
            if value < 0:
                raise ValueError(f"{name} is {value}; it must not be negative")
        self.objective_name = objective
        self.a, self.b, self.t, self.gap = a, b, t, gap
        soft = isinstance(create_input_masking(hiding), Fill)
        self.begins_pretrained = "fixed" in (detector, predictor) or not soft
        if detector_checkpoint is not None and not self.begins_pretrained:
            raise ValueError(
                f"detector_checkpoint is given, but with detector: {detector} and predictor: {predictor} nothing "
                "begins as a pre-trained classifier; leave it away"
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
            weights,
            spec.image_size,
            self.frozen_backbone,
            selector_weights=self._selector_weights,
            **self.network_options,
        )

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained classifier of whole images."""
        begins = pretrained and not self.is_built
        self._selector_weights = self.selector_weights if begins else None
        super().build(spec, pretrained)
        if begins and self.begins_pretrained:
            self._adopt(self.detector_checkpoint)

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier of whole images, unless it is given or nobody needs it."""
        self.check_data(spec)
        with torch.device("meta"):  # what the networks would refuse is refused before anything is trained
            self.configure_network(spec, None)
        if self.detector_checkpoint is not None or not self.begins_pretrained:
            return None
        arguments = {name: value for name, value in self.hparams.items() if name in signature(Method).parameters}
        arguments["backbone"] = self.detector_backbone
        return Pretraining("detector", "ERM", arguments, self.detector_epochs, "detector_checkpoint")

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data on which the hinge cannot be content."""
        chance = math.log(spec.num_classes)
        if self.objective_name == "hinge" and self.gap >= chance:
            raise ValueError(
                f"gap is {self.gap:g}, but a detector that finds nothing among {spec.num_classes} classes has a loss "
                f"of ln {spec.num_classes} = {chance:.3f}; choose a smaller --model.gap, e.g. {0.9 * chance:.2f}"
            )

    def _adopt(self, checkpoint: str | None) -> None:
        """Give the pre-trained classifier's weights and statistics to all parts that begin as it."""
        if checkpoint is None:
            raise ValueError(
                "COMET begins with a classifier that was trained on whole images: give detector_checkpoint, the "
                "checkpoint of an ERM; maskexp fit trains it by itself"
            )
        trained = load_method(checkpoint)
        if not isinstance(trained, ERM):
            raise CheckpointError(f"{checkpoint} holds the method {type(trained).__name__}; a detector is an ERM")
        check_classes(cast(DataSpec, trained.spec), cast(DataSpec, self.spec))
        if trained.backbone != self.detector_backbone:
            raise CheckpointError(
                f"{checkpoint} holds a {trained.backbone}, but the detector is a {self.detector_backbone}; give "
                f"--model.detector_backbone {trained.backbone}"
            )
        for part in cast(COMETNetwork, self.network).begin_pretrained:
            part.load_state_dict(trained.network.state_dict())

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the predictor's loss, what the detector's contributes, and the weighted area."""
        loss_p, loss_d = _cross_entropies(prediction, batch)
        if self.objective_name == "paper":
            contributed = -self.a * loss_d.detach()
            scale_kept, scale_left = torch.ones_like(contributed), torch.full_like(contributed, -self.a)
        else:
            margin = (loss_p - loss_d).detach() + self.gap
            active = (_mean_over_ranks(margin) > 0).to(margin.dtype)
            contributed = self.a * active * margin
            scale_kept, scale_left = 1 + self.a * active, -self.a * active
            prediction.extras["hinge_active"] = active
        _scale_gradient(prediction.extras["kept"], scale_kept)
        _scale_gradient(prediction.extras["left"], scale_left)
        return {
            "loss_predictor": loss_p,
            "loss_detector": loss_d + (contributed - loss_d.detach()),
            "loss_area": self.b * area_excess(prediction.masks[0], self.t),
        }

    @torch.no_grad()
    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the detector's cross-entropy and accuracy on what is left, R, and whether the hinge is active."""
        detected = cast(Tensor, prediction.extras["detector_logits"])
        values = {
            "ce_detector": _cross_entropies(prediction, batch)[1],
            "acc_detector": batch_accuracy(detected, batch["label"]),
            "area_excess": area_excess(prediction.masks[0], self.t),
        }
        if "hinge_active" in prediction.extras:
            values["hinge_active"] = cast(Tensor, prediction.extras["hinge_active"])
        return values


def area_excess(mask: Tensor, t: float) -> Tensor:
    r"""Return :math:`R`, the mean over images of :math:`\max(\bar S_i - t, 0)` (paper, below Eq. 7), in fp32.

    Args:
        mask: ``(B, 1, H, W)`` in [0, 1].
        t: share of the picture that costs nothing.
    """
    return (mask.float().mean(dim=(1, 2, 3)) - t).relu().mean()


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
