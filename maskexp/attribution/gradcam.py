"""Grad-CAM of the last spatial map before pooling."""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.attribution.registry import GRAD_CAM, ExplainableNetwork, register_attribution

__all__ = ["grad_cam"]


@register_attribution(GRAD_CAM, title="Grad-CAM")
def grad_cam(network: ExplainableNetwork, images: Tensor, target: Tensor, features: Tensor | None = None) -> Tensor:
    r"""Return :math:`\mathrm{ReLU}(\sum_c \alpha_c A_c)`, :math:`\alpha_c` the mean gradient of the target's logit.

    Where the features are given, only the layers behind them run again, with gradients on even inside
    ``torch.inference_mode``. No parameter collects a gradient.

    Args:
        network: the classifier, in evaluation mode.
        images: ``(B, 3, H, W)`` float in [0, 1].
        target: ``(B,)`` int64 class to explain.
        features: ``Prediction.features`` of the images, any layout that ``network.as_map`` understands; computed if
            None.

    Returns:
        ``(B, 1, h, w)`` float32 in [0, 1], each map divided by its own maximum; a map without positive evidence is 0.

    Raises:
        ValueError: if the network returns no spatial features.

    Source:
        Selvaraju et al., "Grad-CAM", ICCV 2017, eqs. 1 and 2. The division by the maximum is ours; EPG does not see it.
    """
    if features is None:
        with torch.no_grad():
            features = network(images).features
    if features is None:
        raise ValueError(f"{type(network).__name__} returns no last spatial features, from which Grad-CAM is computed")
    with torch.inference_mode(False), torch.enable_grad():
        leaf = features.detach().clone().requires_grad_(True)
        score = network.classify(leaf).gather(1, target.clone()[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
        activations, gradient = network.as_map(leaf.detach()).float(), network.as_map(gradient).float()
        cam = (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True).relu()
        return cam / cam.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(cam.dtype).tiny)
