r"""What AIM and its bottom-up ablation share: masks on a backbone's last stages, each asked for an area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from maskexp.masking import annealed_target, area_loss
from maskexp.masking.area_control import AreaTarget
from maskexp.masking.binarize import GumbelForm
from maskexp.methods.base import Method
from maskexp.methods.epochs import planned_epochs, steps_per_epoch
from maskexp.models.pooling import Pooling
from maskexp.types import Batch, Prediction


class StageMasked(Method):
    r"""Base of methods with AIM's masks and area loss :math:`\lambda \sum_i (r_i - \tau_i)^2`.

    Args:
        stages: Number s of the backbone's last stages that are masked, at least 1 (paper's tables: 2; its ablation: 1
            and 2).
        tau: Target τ of the active fraction of each stage's mask, in (0, 1] (paper's tables: 0.25 and 0.35);
            "validation" lets it follow the accuracy on validation (ours, see "tolerance"); of AIM also "auto", no
            target: masks become as small as "margin" allows (ours).
        area_weight: Weight λ of the area loss, at least 0 (paper: 6; the ImageNet-1k release: 5 and 10); 0 leaves the
            area loss out. With tau "auto" the weight is learned, and this is the most that it may be at the end of the
            annealing.
        anneal_fraction: Share of the epochs over which the target falls linearly from 1 to tau, in [0, 1] (the
            ImageNet-1k release anneals over the first half or over all epochs; for the paper's tables inferred: 0.5).
            With tau "validation" it falls geometrically to 0.05 in these epochs, and the search begins; with tau
            "auto", what the learned weight may be rises linearly in them.
        tolerance: With tau "validation", by how many standard errors the accuracy on validation may lie below the
            highest that there was without the target area rising again, above 0; 1 if null (ours).
        estimator_reduction: The hidden width of a mask estimator is that of its input divided by this, at least 1
            (inferred from the overhead that the paper states: 8).
        estimator_blocks: Residual blocks of a mask estimator, at least 0 (paper, as summarised: 3).
        global_branch: Whether a mask estimator adds a vector that is pooled over the image (paper; how it is added is
            inferred).
        initial_bias: First bias of the mask logits, any number; a positive one starts with active masks (inferred: 2).
        gumbel: Form of the Gumbel noise on the mask logits: "sigmoid" of one logit or "softmax2" of two (inferred:
            sigmoid).
        temperature: Temperature of the straight-through gradient, above 0 (inferred: 1).
        eval_noise: Whether masks are drawn with noise in evaluation too (inferred: no).
        pooling: Whether the classifiers average over "all" positions or over the "active" ones only, which hides the
            mask's area from them (inferred: all).
        kwargs: Arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``tau`` is not in (0, 1], ``area_weight`` is negative or infinite, ``anneal_fraction`` is not in
            [0, 1], or ``tolerance`` is not above 0.

    Attributes:
        finds_area: whether ``tau`` may be "auto".
    """

    finds_area: bool = False

    def __init__(
        self,
        stages: int = 2,
        tau: float | Literal["auto", "validation"] = 0.25,
        area_weight: float = 6.0,
        anneal_fraction: float = 0.5,
        tolerance: float | None = None,
        estimator_reduction: int = 8,
        estimator_blocks: int = 3,
        global_branch: bool = True,
        initial_bias: float = 2.0,
        gumbel: GumbelForm = "sigmoid",
        temperature: float = 1.0,
        eval_noise: bool = False,
        pooling: Pooling = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if tau == "auto" and not self.finds_area:
            raise ValueError(
                f'tau is "auto", but {type(self).__name__} cannot tell what its masks cost the decision, since each '
                'feeds the next stage; give a number in (0, 1], or "validation"'
            )
        if tau not in ("auto", "validation") and (isinstance(tau, str) or not 0 < tau <= 1):
            words = '"auto" or "validation"' if self.finds_area else '"validation"'
            raise ValueError(f"tau is {tau}; the target active fraction must lie in (0, 1], or be {words}")
        if isinstance(tau, str) and area_weight == 0:
            raise ValueError(f'tau is "{tau}", but with area_weight 0 nothing asks for an area; omit it')
        if tolerance is not None and not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance is {tolerance}; it must be above 0 and finite, in standard errors")
        if tolerance is not None and tau != "validation":
            raise ValueError(
                f'tolerance is {tolerance}, but only tau "validation" has one; omit it, or set tau to validation'
            )
        if not 0 <= area_weight < math.inf:
            raise ValueError(
                f"area_weight is {area_weight}; it must be at least 0, which leaves the area loss out, and finite"
            )
        if not 0 <= anneal_fraction <= 1:
            raise ValueError(f"anneal_fraction is {anneal_fraction}; it must lie in [0, 1]")
        self.tau = tau
        self.area_weight = area_weight
        self.anneal_fraction = anneal_fraction
        self.area_target = AreaTarget(tolerance or 1.0) if tau == "validation" else None
        self.mask_options: dict[str, Any] = {
            "stages": stages,
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
        return {"loss_area": self.area_weight * area_loss(masks, self.target_area)}

    @property
    def target_area(self) -> float:
        """The target of each mask's active fraction in this epoch."""
        if self.area_target is None:
            return annealed_target(self.current_epoch, float(self.tau), self.anneal_epochs)
        epochs = self.anneal_epochs
        return self.area_target.at(self.current_epoch / epochs if self.current_epoch < epochs else 1.0)

    @property
    def settled(self) -> bool:
        """Whether the target area is annealed to its end, or this epoch is the last that there will be."""
        if self.area_weight == 0:
            return True
        last = planned_epochs(self.trainer, "") - 1 if self.anneal_epochs else 0
        return self.current_epoch >= min(self.anneal_epochs, last)

    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the target area, where it is found."""
        return {} if self.area_target is None else {"target_area": torch.tensor(self.target_area)}

    def on_fit_start(self) -> None:
        """Refuse a training without validations where the target area follows them.

        Raises:
            ValueError: if nothing is validated.
        """
        super().on_fit_start()
        if self.area_target is not None and self.trainer.limit_val_batches == 0:
            raise ValueError(
                'tau is "validation", but nothing is validated; omit --trainer.limit_val_batches 0, or give tau a '
                "number"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take a checkpoint, of an earlier state of the target area too."""
        weights, key = checkpoint["state_dict"], "area_target._extra_state"
        if key in weights:
            weights[key] = AreaTarget.upgraded(weights[key])
        super().on_load_checkpoint(checkpoint)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Prediction]:
        """Return the prediction for a validation batch, and note how many decisions are right."""
        result = super().validation_step(batch, batch_idx)
        if self.area_target is not None:
            right = result["prediction"].logits.argmax(dim=1) == batch["label"]
            self._validated += torch.stack([right.sum(), torch.tensor(len(right), device=right.device)])
        return result

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._validated = torch.zeros(2, dtype=torch.long, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Let the target area follow a validation of the training."""
        if self.area_target is None or self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self._validated)
        right, images = self._validated.tolist()
        epoch = self.trainer.global_step / steps_per_epoch(self.trainer)
        self.area_target.update(right / images, images, epoch, self.anneal_epochs)

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
