r"""BottomUp: the bottom-up baseline of AIM's ablation.

Alshami, Agnihotri, Schiele, Keuper: "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV 2025.

The objective is :math:`L = \lambda \sum_i (r_i - \tau_i)^2 + L_{cls}`: AIM's area loss, and one
cross-entropy. With :math:`\lambda = 0` nothing asks the masks to be sparse. The definition is inferred, see
:mod:`maskexp.models.bottom_up`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from maskexp.methods.stage_masked import StageMasked
from maskexp.models import BottomUpNetwork
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class BottomUp(StageMasked):
    """Bottom-up masking [stages, tau].

    Takes the arguments of :class:`~maskexp.methods.stage_masked.StageMasked`; an ``area_weight`` of 0 shows what
    becomes of masks that nothing asks to be sparse.
    """

    soft_labels = True

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the backbone with masks on its last ``stages`` stages."""
        return BottomUpNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            **self.mask_options,
        )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if it has a weight, the area loss."""
        return {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])} | self.area_terms(prediction.masks)
