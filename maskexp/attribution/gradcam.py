"""Grad-CAM of the last spatial map before pooling."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class SpatialClassifier(Protocol):
    """A network that Grad-CAM can explain: it can finish a prediction from its last spatial features."""

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the features of a prediction."""
        ...

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        ...


def grad_cam(network: SpatialClassifier, features: Tensor, target: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{ReLU}(\sum_c \alpha_c A_c)`, :math:`\alpha_c` the mean gradient of the target's logit.

    Only the layers behind the features run again, with gradients on even inside ``torch.inference_mode``. No
    parameter collects a gradient.

    Args:
        network: the classifier, in evaluation mode.
        features: ``Prediction.features`` of the images, any layout that ``network.as_map`` understands.
        target: ``(B,)`` int64 class to explain.

    Returns:
        ``(B, 1, h, w)`` float32 in [0, 1], each map divided by its own maximum; a map without positive evidence is 0.

    Source:
        Selvaraju et al., "Grad-CAM", ICCV 2017, eqs. 1 and 2. The division by the maximum is ours; EPG does not see it.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = features.detach().clone().requires_grad_(True)
        score = network.classify(leaf).gather(1, target.clone()[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
        activations, gradient = network.as_map(leaf.detach()).float(), network.as_map(gradient).float()
        cam = (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True).relu()
        return cam / cam.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(cam.dtype).tiny)
