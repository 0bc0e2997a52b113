r"""BottomUp: the bottom-up baseline of AIM's ablation.

Alshami, Agnihotri, Schiele, Keuper: "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV 2025.

The objective is :math:`L = \lambda \sum_i (r_i - \tau_i)^2 + L_{cls}`: AIM's area loss, and one
cross-entropy. With :math:`\lambda = 0` nothing asks the masks to be sparse. The definition is inferred, see
:mod:`maskexp.models.bottom_up`.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from maskexp.masking import annealed_target, area_loss
from maskexp.masking.binarize import GumbelForm
from maskexp.methods.base import Method
from maskexp.methods.epochs import planned_epochs
from maskexp.models import BottomUpNetwork
from maskexp.models.network import Network
from maskexp.models.pooling import Pooling
from maskexp.types import Batch, DataSpec, Prediction

_DEFAULT = {name: parameter.default for name, parameter in signature(BottomUpNetwork).parameters.items()}
"""The network's defaults, which stand in its own signature."""


class BottomUp(Method):
    r"""Bottom-up masking [stages, tau].

    Args:
        stages: *s*, how many of the backbone's last stages are masked (paper's ablation: 1 and 2).
        tau: :math:`\tau`, target active fraction of each stage's mask, in (0, 1] (paper's ablation: 0.25).
        area_weight: :math:`\lambda` (AIM's: 6); 0 leaves the area loss out.
        anneal_fraction: share of the epochs over which the target falls linearly from 1 to ``tau``, as for
            :class:`~maskexp.methods.AIM`.
        estimator_reduction: see :class:`~maskexp.models.BottomUpNetwork`, as the arguments that follow.
        estimator_blocks: residual blocks of a mask estimator.
        global_branch: whether a mask estimator adds a pooled vector.
        initial_bias: first bias of the mask logits.
        gumbel: ``sigmoid`` or ``softmax2``.
        temperature: of the straight-through gradient.
        eval_noise: draw masks in evaluation too.
        pooling: ``all`` or ``active``.
        kwargs: arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``tau`` is not in (0, 1], ``area_weight`` is negative, or ``anneal_fraction`` not in [0, 1].
    """

    def __init__(
        self,
        stages: int = _DEFAULT["stages"],
        tau: float = 0.25,
        area_weight: float = 6.0,
        anneal_fraction: float = 0.5,
        estimator_reduction: int = _DEFAULT["estimator_reduction"],
        estimator_blocks: int = _DEFAULT["estimator_blocks"],
        global_branch: bool = _DEFAULT["global_branch"],
        initial_bias: float = _DEFAULT["initial_bias"],
        gumbel: GumbelForm = _DEFAULT["gumbel"],
        temperature: float = _DEFAULT["temperature"],
        eval_noise: bool = _DEFAULT["eval_noise"],
        pooling: Pooling = _DEFAULT["pooling"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < tau <= 1:
            raise ValueError(f"tau is {tau}; the target active fraction must lie in (0, 1]")
        if area_weight < 0:
            raise ValueError(f"area_weight is {area_weight}; it must be at least 0, which leaves the area loss out")
        if not 0 <= anneal_fraction <= 1:
            raise ValueError(f"anneal_fraction is {anneal_fraction}; it must lie in [0, 1]")
        self.stages = stages
        self.tau = tau
        self.area_weight = area_weight
        self.anneal_fraction = anneal_fraction
        self.network_options: dict[str, Any] = {
            "estimator_reduction": estimator_reduction,
            "estimator_blocks": estimator_blocks,
            "global_branch": global_branch,
            "initial_bias": initial_bias,
            "gumbel": gumbel,
            "temperature": temperature,
            "eval_noise": eval_noise,
            "pooling": pooling,
        }

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the backbone with masks on its last ``stages`` stages."""
        return BottomUpNetwork(
            self.backbone,
            spec.num_classes,
            self.stages,
            weights,
            spec.image_size,
            self.frozen_backbone,
            **self.network_options,
        )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if it has a weight, the area loss."""
        terms = {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])}
        if self.area_weight:
            target = annealed_target(self.current_epoch, self.tau, self.anneal_epochs)
            terms["loss_area"] = self.area_weight * area_loss(prediction.masks, target)
        return terms

    @property
    def anneal_epochs(self) -> int:
        """Epochs over which the target area falls to ``tau``.

        Raises:
            ValueError: if a share of the epochs is asked for while their number is not bounded.
        """
        if self.anneal_fraction == 0:
            return 0
        reason = "BottomUp anneals its target area over the epochs, unless anneal_fraction is 0"
        return round(self.anneal_fraction * planned_epochs(self.trainer, reason))
