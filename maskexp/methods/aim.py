r"""AIM: self-supervised masks on a top-down path.

Alshami, Agnihotri, Schiele, Keuper: "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV 2025.

The objective is :math:`L = \lambda \sum_i (r_i - \tau_i)^2 + \sum_i L_{cls}^{(i)}`, where :math:`r_i` is the active
fraction of the mask of stage *i*, :math:`\tau_i` its annealed target and :math:`L_{cls}^{(i)}` the cross-entropy of the
classifier on that stage's sparse features; the merged head has a cross-entropy of its own.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking import annealed_target, area_loss
from maskexp.masking.binarize import GumbelForm
from maskexp.methods.base import Method
from maskexp.methods.epochs import planned_epochs
from maskexp.models import AIMNetwork
from maskexp.models.aim import EstimatorInput
from maskexp.models.network import Network
from maskexp.models.pooling import Pooling
from maskexp.types import Batch, DataSpec, Prediction

_DEFAULT = {name: parameter.default for name, parameter in signature(AIMNetwork).parameters.items()}
"""The network's defaults, which stand in its own signature."""


class AIM(Method):
    r"""AIM[stages, tau].

    Args:
        stages: *s*, how many of the backbone's last stages are masked (paper's tables: 2).
        tau: :math:`\tau`, target active fraction of each stage's mask, in (0, 1] (paper's tables: 0.25 and 0.35).
        area_weight: :math:`\lambda` (paper: 6; the ImageNet-1k release: 5 and 10).
        anneal_fraction: share of the epochs over which :math:`\tau_i` falls linearly from 1 to ``tau`` (the ImageNet-1k
            release anneals over the first half or over all epochs; unpublished for the paper's tables: inferred).
        merged_weight: weight of the merged head's cross-entropy (inferred: 1).
        stage_weight: weight of the stage classifiers' cross-entropies (paper: 1).
        feature_width: see :class:`~maskexp.models.AIMNetwork`, as the arguments that follow.
        branch_kernel: side of the second convolution of a feature branch.
        estimator_input: what a mask estimator reads, its ``stage`` or the ``pyramid`` below it.
        estimator_reduction: hidden width of a mask estimator is its input's divided by this.
        estimator_blocks: residual blocks of a mask estimator.
        global_branch: whether a mask estimator adds a pooled vector.
        initial_bias: first bias of the mask logits.
        gumbel: ``sigmoid`` or ``softmax2``.
        temperature: of the straight-through gradient.
        eval_noise: draw masks in evaluation too.
        pooling: ``all`` or ``active``.
        sparse_below: in evaluation, compute the feature branch of a stage at its active positions alone where these are
            at most this share; 0 computes all densely.
        kwargs: arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``tau`` is not in (0, 1], or ``anneal_fraction`` not in [0, 1].
    """

    def __init__(
        self,
        stages: int = _DEFAULT["stages"],
        tau: float = 0.25,
        area_weight: float = 6.0,
        anneal_fraction: float = 0.5,
        merged_weight: float = 1.0,
        stage_weight: float = 1.0,
        feature_width: int = _DEFAULT["feature_width"],
        branch_kernel: int = _DEFAULT["branch_kernel"],
        estimator_input: EstimatorInput = _DEFAULT["estimator_input"],
        estimator_reduction: int = _DEFAULT["estimator_reduction"],
        estimator_blocks: int = _DEFAULT["estimator_blocks"],
        global_branch: bool = _DEFAULT["global_branch"],
        initial_bias: float = _DEFAULT["initial_bias"],
        gumbel: GumbelForm = _DEFAULT["gumbel"],
        temperature: float = _DEFAULT["temperature"],
        eval_noise: bool = _DEFAULT["eval_noise"],
        pooling: Pooling = _DEFAULT["pooling"],
        sparse_below: float = _DEFAULT["sparse_below"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < tau <= 1:
            raise ValueError(f"tau is {tau}; the target active fraction must lie in (0, 1]")
        if not 0 <= anneal_fraction <= 1:
            raise ValueError(f"anneal_fraction is {anneal_fraction}; it must lie in [0, 1]")
        self.stages = stages
        self.tau = tau
        self.area_weight = area_weight
        self.anneal_fraction = anneal_fraction
        self.merged_weight = merged_weight
        self.stage_weight = stage_weight
        self.network_options: dict[str, Any] = {
            "feature_width": feature_width,
            "branch_kernel": branch_kernel,
            "estimator_input": estimator_input,
            "estimator_reduction": estimator_reduction,
            "estimator_blocks": estimator_blocks,
            "global_branch": global_branch,
            "initial_bias": initial_bias,
            "gumbel": gumbel,
            "temperature": temperature,
            "eval_noise": eval_noise,
            "pooling": pooling,
            "sparse_below": sparse_below,
        }

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return AIM's network on the last ``stages`` stages of the backbone."""
        return AIMNetwork(
            self.backbone,
            spec.num_classes,
            self.stages,
            weights,
            spec.image_size,
            self.frozen_backbone,
            **self.network_options,
        )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the area loss, the cross-entropy of the merged head and those of the stage classifiers."""
        target = annealed_target(self.current_epoch, self.tau, self.anneal_epochs)
        terms = {
            "loss_area": self.area_weight * area_loss(prediction.masks, target),
            "loss_cls": self.merged_weight * F.cross_entropy(prediction.logits, batch["label"]),
        }
        stage_logits = prediction.extras["stage_logits"]
        if stage_logits:
            losses = torch.stack([F.cross_entropy(logits, batch["label"]) for logits in stage_logits])
            terms["loss_stages"] = self.stage_weight * losses.sum()
        return terms

    @property
    def anneal_epochs(self) -> int:
        """Epochs over which the target area falls to ``tau``.

        Raises:
            ValueError: if a share of the epochs is asked for while their number is not bounded.
        """
        if self.anneal_fraction == 0:
            return 0
        reason = "AIM anneals its target area over the epochs, unless anneal_fraction is 0"
        return round(self.anneal_fraction * planned_epochs(self.trainer, reason))
