r"""CAD: a classifier that learns where it needs high resolution.

Hesse, Schaub-Meyer, Roth: "Content-Adaptive Downsampling in Convolutional Neural Networks", CVPR workshops 2023.

The objective is :math:`L = L_{cls} + \lambda (r - p)^2` with *r* the share of cells at low resolution. The released
code draws the mask of the area loss anew, independent of the one that took part in the prediction, and draws in
evaluation too; here both are options, and the default is one mask for both and none drawn in evaluation (ours).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor

from maskexp.masking import area_loss
from maskexp.methods.base import Method
from maskexp.models import CADNetwork
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class CAD(Method):
    r"""Content-adaptive downsampling, on a ResNet of timm or torchvision (``torchvision/resnet50``).

    The released code trains the estimator at a hundredth of the head's learning rate; here they share one rate.

    Args:
        low_res_active: Target share p of the cells at low resolution, in [0, 1] (released code: 0.3, its run: 0.5).
        area_weight: Weight λ of the area loss, at least 0 (released code: 1); 0 leaves it out.
        resample_area: Whether the mask of the area loss is drawn anew, independent of the one that took part in the
            prediction (released code: yes; ours: no).
        temperature: Temperature of the straight-through gradient, above 0 (released code: 1).
        eval_noise: Whether the mask is drawn with noise in evaluation too (released code: yes; ours: no).
        kwargs: Arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``low_res_active`` is not in [0, 1] or ``area_weight`` is negative or infinite.
    """

    soft_labels = True

    def __init__(
        self,
        low_res_active: float = 0.3,
        area_weight: float = 1.0,
        resample_area: bool = False,
        temperature: float = 1.0,
        eval_noise: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= low_res_active <= 1:
            raise ValueError(
                f"low_res_active is {low_res_active}; the share of cells at low resolution must lie in [0, 1]"
            )
        if not 0 <= area_weight < math.inf:
            raise ValueError(
                f"area_weight is {area_weight}; it must be at least 0, which leaves the area loss out, and finite"
            )
        self.low_res_active = low_res_active
        self.area_weight = area_weight
        self.resample_area = resample_area
        self.temperature = temperature
        self.eval_noise = eval_noise

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the ResNet with its last two stages at two resolutions."""
        return CADNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            temperature=self.temperature,
            eval_noise=self.eval_noise,
        )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if it has a weight, the area loss."""
        terms = {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])}
        if self.area_weight:
            low = 1 - prediction.masks[0]
            if self.resample_area:
                low = cast(CADNetwork, self.network).binarizer(prediction.extras["mask_logits"])
            terms["loss_area"] = self.area_weight * area_loss([low], self.low_res_active)
        return terms
