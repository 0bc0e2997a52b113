"""ERM: empirical risk minimisation, the plain classifier that every mask is compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from maskexp.methods.base import Method
from maskexp.models import Classifier
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class ERM(Method):
    """Cross-entropy on the whole image; the attribution is Grad-CAM (Selvaraju et al., ICCV 2017).

    Takes the arguments of :class:`~maskexp.methods.base.Method`.
    """

    soft_labels = True

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the timm network with its own pooling and a new head."""
        return Classifier(self.backbone, spec.num_classes, weights, spec.image_size, self.frozen_backbone)

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy."""
        return {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])}
