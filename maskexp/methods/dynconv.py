r"""DynConv: residual blocks that run only where they are needed, on a budget of multiply-accumulates (MACs).

Verelst & Tuytelaars: "Dynamic Convolutions: Exploiting Spatial Sparsity for Faster Inference", CVPR 2020.

The objective is :math:`L = L_{cls} + \alpha (L_{net} + L_{block})`, with :math:`L_{net} = (P - \theta)^2` for the share
of MACs :math:`P` of all blocks, and :math:`L_{block}` keeping each block between bounds that widen
(:func:`~maskexp.masking.budget_bounds`). Gumbel noise ends after 80 % of the epochs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor

from maskexp.masking import block_bounds_loss, budget_bounds, mac_shares, network_budget_loss
from maskexp.methods.base import Method
from maskexp.methods.epochs import planned_epochs
from maskexp.models import DynConvNetwork
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class DynConv(Method):
    r"""Dynamic convolutions with a budget, on a ResNet of timm or torchvision (``torchvision/resnet50``).

    Args:
        budget: Share θ of the blocks' multiply-accumulates that the network may spend, in [0, 1], dilated positions
            counted; it is no share of area (ours: 0.5; the paper has 0.3 for ResNet-101 on ImageNet, among others).
        budget_weight: Weight α of the budget losses, at least 0 (released code: 10 for classification).
        temperatures: Temperatures of the straight-through gradient, above 0, one after the other (released code: 1.0
            for CIFAR-10; 5.0, 2.5 and 1.0 for ImageNet).
        temperature_milestones: Shares of the epochs, in [0, 1], at which the next temperature begins, one fewer than
            temperatures (released code for ImageNet: 0.3 and 0.6).
        noise_until: Share of the epochs, in [0, 1], after which training draws no more noise (released code: 0.8).
        sparse_below: In evaluation, compute a block at its active positions only, where its masks leave at most this
            share of its multiply-accumulates, in [0, 1]; 0 computes every position (ours: 0).
        kwargs: Arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``budget`` or a share is not in [0, 1], ``budget_weight`` is negative or infinite, or the
            temperatures are not positive, finite and one more than their milestones.
    """

    soft_labels = True

    def __init__(
        self,
        budget: float = 0.5,
        budget_weight: float = 10.0,
        temperatures: Sequence[float] = (1.0,),
        temperature_milestones: Sequence[float] = (),
        noise_until: float = 0.8,
        sparse_below: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= budget <= 1:
            raise ValueError(f"budget is {budget}; the share of the blocks' MACs must lie in [0, 1]")
        if not 0 <= budget_weight < math.inf:
            raise ValueError(f"budget_weight is {budget_weight}; it must be at least 0 and finite")
        shares = [*temperature_milestones, noise_until]
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"temperature_milestones and noise_until are {shares}; shares of epochs lie in [0, 1]")
        if sorted(temperature_milestones) != list(temperature_milestones):
            raise ValueError(f"temperature_milestones are {list(temperature_milestones)}; they must not decrease")
        if len(temperatures) != len(temperature_milestones) + 1:
            raise ValueError(
                f"{len(temperatures)} temperatures and {len(temperature_milestones)} temperature_milestones; there "
                "must be one temperature more than milestones"
            )
        if not all(0 < temperature < math.inf for temperature in temperatures):
            raise ValueError(f"temperatures are {list(temperatures)}; each must be greater than 0 and finite")
        self.budget = budget
        self.budget_weight = budget_weight
        self.temperatures = temperatures
        self.temperature_milestones = temperature_milestones
        self.noise_until = noise_until
        self.sparse_below = sparse_below

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the ResNet with a mask unit for each block."""
        return DynConvNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            temperature=self.temperatures[0],
            sparse_below=self.sparse_below,
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Set temperature and noise of the epoch.

        At each batch, because a training that is resumed inside an epoch never sees that epoch's start.
        """
        binarizer = cast(DynConvNetwork, self.network).binarizer
        milestones = [round(share * self.epochs) for share in self.temperature_milestones]
        binarizer.temperature = self.temperatures[bisect_right(milestones, self.current_epoch)]
        binarizer.train_noise = self.current_epoch <= self.noise_until * self.epochs
        return super().on_train_batch_start(batch, batch_idx)

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy, the network's and the blocks' budget losses."""
        dilated = cast(tuple[Tensor, ...], prediction.extras["dilated"])
        shares, share = mac_shares(prediction.masks, dilated, cast(DynConvNetwork, self.network).block_macs)
        lower, upper = budget_bounds(self.current_epoch, self.epochs, self.budget)
        return {
            "loss_cls": F.cross_entropy(prediction.logits, batch["label"]),
            "loss_budget": self.budget_weight * network_budget_loss(share, self.budget),
            "loss_blocks": self.budget_weight * block_bounds_loss(shares, lower, upper),
        }

    @property
    def epochs(self) -> int:
        """Epochs of the training.

        Raises:
            ValueError: if their number is not bounded.
        """
        return planned_epochs(self.trainer, "DynConv anneals bounds, temperature and noise over the epochs")
