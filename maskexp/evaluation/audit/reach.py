"""Which pixels can reach an active cell: the receptive field of the cells that the mask leaves active, by gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.evaluation.audit.questioning import Questioning

__all__ = ["REACH_IMAGES", "reachable_pixels"]

REACH_IMAGES = 64
"""Images of the sample, in the order of their rows, for which the field is computed."""
DRAWS = 6
"""Images of noise whose gradients are united: a path that one leaves dead behind a ReLU or a maximum, another opens."""


def reachable_pixels(asked: Questioning, numbers: Tensor, seed: int) -> Tensor | None:
    """Return the pixels from which a gradient reaches an active cell of the last spatial map.

    The mask of each image is held while noise takes the place of its pixels; a pixel counts where the gradient of a
    random combination of the features at active cells is not exactly 0 for one of six images of noise. Unlike the
    gradient at the image itself, this does not depend on which units the image happens to activate. A network that
    pools or attends over the whole image reaches everywhere, and so does an estimator of a mask that cannot be held;
    where the mask is held, its estimator is no part of this.

    Args:
        asked: network and sample.
        numbers: of images.
        seed: of noise and combination.

    Returns:
        ``(B, 1, H, W)`` bool, or None if the network returns no spatial features.
    """
    reached = torch.zeros_like(asked.base.shown[numbers])
    generator = torch.Generator().manual_seed(seed)
    for part in torch.split(torch.arange(len(numbers)), asked.batch_size):
        chosen = numbers[part.to(numbers.device)]
        masks = [stage[chosen].clone() for stage in asked.base.masks] if asked.holds_masks else None
        shown = asked.base.shown[chosen].float()
        for _ in range(DRAWS):
            noise = torch.rand(len(chosen), 3, *asked.size, generator=generator).to(shown.device)
            with torch.inference_mode(False), torch.enable_grad():
                pixels = noise.clone().requires_grad_(True)
                features = asked.predict(pixels, masks).features
                if features is None:
                    return None
                cells = asked.network.as_map(features).float()
                active = F.adaptive_max_pool2d(shown.clone(), (cells.shape[-2], cells.shape[-1]))
                weights = torch.randn(1, cells.shape[1], *cells.shape[-2:], generator=generator).to(cells.device)
                (gradient,) = torch.autograd.grad((cells * weights * active).sum(), pixels)
            reached[part.to(numbers.device)] |= (gradient != 0).any(dim=1, keepdim=True)
    return reached
