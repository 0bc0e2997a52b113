r"""What AIM and its bottom-up ablation share: masks on a backbone's last stages, each asked for an area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from inspect import signature
from typing import Any

from torch import Tensor

from maskexp.masking import annealed_target, area_loss
from maskexp.masking.binarize import GumbelForm
from maskexp.methods.base import Method
from maskexp.methods.epochs import planned_epochs
from maskexp.models import AIMNetwork
from maskexp.models.pooling import Pooling

DEFAULT = {name: parameter.default for name, parameter in signature(AIMNetwork).parameters.items()}
"""The network's defaults, which stand in its own signature."""


class StageMasked(Method):
    r"""Base of methods with AIM's masks and area loss :math:`\lambda \sum_i (r_i - \tau_i)^2`.

    Args:
        stages: *s*, how many of the backbone's last stages are masked (paper's tables: 2; its ablation: 1 and 2).
        tau: :math:`\tau`, target active fraction of each stage's mask, in (0, 1] (paper's tables: 0.25 and 0.35).
        area_weight: :math:`\lambda` (paper: 6; the ImageNet-1k release: 5 and 10); 0 leaves the area loss out.
        anneal_fraction: share of the epochs over which :math:`\tau_i` falls linearly from 1 to ``tau`` (the ImageNet-1k
            release anneals over the first half or over all epochs; unpublished for the paper's tables: inferred).
        estimator_reduction: see :class:`~maskexp.models.AIMNetwork`, as the arguments that follow.
        estimator_blocks: residual blocks of a mask estimator.
        global_branch: whether a mask estimator adds a pooled vector.
        initial_bias: first bias of the mask logits.
        gumbel: ``sigmoid`` or ``softmax2``.
        temperature: of the straight-through gradient.
        eval_noise: draw masks in evaluation too.
        pooling: ``all`` or ``active``.
        kwargs: arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``tau`` is not in (0, 1], ``area_weight`` is negative or infinite, or ``anneal_fraction`` is not
            in [0, 1].
    """

    def __init__(
        self,
        stages: int = DEFAULT["stages"],
        tau: float = 0.25,
        area_weight: float = 6.0,
        anneal_fraction: float = 0.5,
        estimator_reduction: int = DEFAULT["estimator_reduction"],
        estimator_blocks: int = DEFAULT["estimator_blocks"],
        global_branch: bool = DEFAULT["global_branch"],
        initial_bias: float = DEFAULT["initial_bias"],
        gumbel: GumbelForm = DEFAULT["gumbel"],
        temperature: float = DEFAULT["temperature"],
        eval_noise: bool = DEFAULT["eval_noise"],
        pooling: Pooling = DEFAULT["pooling"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < tau <= 1:
            raise ValueError(f"tau is {tau}; the target active fraction must lie in (0, 1]")
        if not 0 <= area_weight < math.inf:
            raise ValueError(
                f"area_weight is {area_weight}; it must be at least 0, which leaves the area loss out, and finite"
            )
        if not 0 <= anneal_fraction <= 1:
            raise ValueError(f"anneal_fraction is {anneal_fraction}; it must lie in [0, 1]")
        self.stages = stages
        self.tau = tau
        self.area_weight = area_weight
        self.anneal_fraction = anneal_fraction
        self.mask_options: dict[str, Any] = {
            "estimator_reduction": estimator_reduction,
            "estimator_blocks": estimator_blocks,
            "global_branch": global_branch,
            "initial_bias": initial_bias,
            "gumbel": gumbel,
            "temperature": temperature,
            "eval_noise": eval_noise,
            "pooling": pooling,
        }

    def area_terms(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted area loss of the epoch as a term of the objective; none without a weight."""
        if self.area_weight == 0:
            return {}
        target = annealed_target(self.current_epoch, self.tau, self.anneal_epochs)
        return {"loss_area": self.area_weight * area_loss(masks, target)}

    @property
    def anneal_epochs(self) -> int:
        """Epochs over which the target area falls to ``tau``.

        Raises:
            ValueError: if a share of the epochs is asked for while their number is not bounded.
        """
        if self.anneal_fraction == 0:
            return 0
        name = type(self).__name__
        reason = f"{name} anneals its target area over the epochs, unless anneal_fraction is 0"
        return round(self.anneal_fraction * planned_epochs(self.trainer, reason))
