"""Maps from the gradient of the target's logit with respect to pixels.

captum has them all, and tests compare with it. They are written here for what it leaves open: noise that depends on a
seed and not on the batch (its NoiseTunnel draws from the global state), any way of hiding as the baseline, and memory
that runs out; each is a few lines around the same gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskexp.attribution.forward import in_batches, laid_out, logits_of, painted
from maskexp.attribution.registry import register_attribution
from maskexp.masking.inputs import InputMasking

__all__ = ["input_x_gradient", "integrated_gradients", "smooth_grad"]


@register_attribution("input_x_gradient", title="input × gradient", scale="positive")
def input_x_gradient(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, hiding: InputMasking | None = None
) -> Tensor:
    """Return the gradient of the target's logit, times what each pixel differs from its hidden self.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        hiding: what a pixel is compared with, any way of hiding that paints. None: the colour that the network
            normalises to 0, with which the map is the product of normalised image and gradient, as published.

    Returns:
        ``(B, 1, H, W)`` float32, summed over the channels, of either sign.

    Source:
        Shrikumar et al., "Not Just a Black Box", 2016. As captum's ``InputXGradient`` on normalised images.
    """
    gradient = _gradient(network, images, target)
    difference = images - painted(hiding, network, images, "input_x_gradient")
    return (difference * gradient).sum(dim=1, keepdim=True)


@register_attribution("integrated_gradients", title="Integrated Gradients", scale="positive")
def integrated_gradients(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    hiding: InputMasking | None = None,
    steps: int = 50,
    batch_size: int | None = None,
) -> Tensor:
    """Return Integrated Gradients of the target's logit.

    The sum of a map is the logit of the image less that of the image in which all is hidden.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        hiding: where the straight path to the image begins, any way of hiding that paints. None: the colour that the
            network normalises to 0 (captum's default); the paper's black is ``integrated_gradients:hiding=black``.
        steps: points of the Gauss-Legendre quadrature (captum: 50; the paper: 20 to 300).
        batch_size: points at once; the largest batch that fits if None.

    Returns:
        ``(B, 1, H, W)`` float32, summed over the channels, of either sign.

    Source:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    along, weight = (torch.from_numpy(each).to(images) for each in ((nodes + 1) / 2, weights / 2))
    count, begin = len(images), painted(hiding, network, images, "integrated_gradients")
    mean = torch.zeros_like(images)

    def run(start: int, stop: int) -> None:
        each = torch.arange(start, stop, device=images.device)
        rows, points = each % count, each // count
        between = torch.lerp(begin[rows], images[rows], along[points, None, None, None])
        mean.index_add_(0, rows, weight[points, None, None, None] * _gradient(network, between, target[rows]))

    in_batches(run, count * steps, network, images, batch_size, "integrated_gradients")
    return ((images - begin) * mean).sum(dim=1, keepdim=True)


@register_attribution("smooth_grad", title="SmoothGrad", scale="positive")
def smooth_grad(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Return SmoothGrad: the mean gradient of the target's logit over noisy copies of the image.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        samples: noisy copies of each image (paper: 50).
        noise: standard deviation of the Gaussian noise as a share of the image's range (paper: 0.1 to 0.2).
        seed: of the noise, which depends on it and on the image size alone, so that batches change nothing.
        batch_size: copies at once; the largest batch that fits if None.

    Returns:
        ``(B, 1, H, W)`` float32, the absolute mean gradient summed over the channels: how sensitive the logit is, not
        in which direction.

    Source:
        Smilkov et al., "SmoothGrad", 2017; absolute values summed over the channels as in its released code.
    """
    count, generator = len(images), torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randn(images.shape[1:], generator=generator) for _ in range(samples)])
    extent = (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))) * noise
    total = torch.zeros_like(images)

    def run(start: int, stop: int) -> None:
        each = torch.arange(start, stop, device=images.device)
        rows, copies = each % count, each // count
        noisy = images[rows] + extent[rows, None, None, None] * drawn[copies.cpu()].to(images)
        total.index_add_(0, rows, _gradient(network, noisy, target[rows]))

    in_batches(run, count * samples, network, images, batch_size, "smooth_grad")
    return (total / samples).abs().sum(dim=1, keepdim=True)


def _gradient(network: Any, images: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the target's logit, like the images; no parameter collects one."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = laid_out(images.detach().clone()).requires_grad_(True)
        score = logits_of(network(leaf)).gather(1, target.clone()[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
    return gradient
