"""LIME: a linear model of a classifier around one image, fitted on which of its segments are visible."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskexp.attribution.forward import Precision, in_batches, in_precision, laid_out, logits_of
from maskexp.attribution.registry import register_attribution
from maskexp.attribution.segments import create_segmenter, segment_counts
from maskexp.masking.inputs import Fill, InputMasking
from maskexp.metrics.functional.inputs import real_dtype

__all__ = ["SegmentMean", "lime", "lime_weights", "paint_segments", "random_designs"]


def check_segments(_: Any, segments: str = "quickshift", **__: Any) -> None:
    """Refuse segments that are unknown or need what is not installed.

    Raises:
        ValueError: if they are unknown.
        ModuleNotFoundError: if they need scikit-image, and that is missing.
    """
    create_segmenter(segments)


@register_attribution("lime", title="LIME", scale="positive", check=check_segments)
def lime(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    hiding: InputMasking | None = None,
    segments: str = "quickshift",
    samples: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """Return the weight of each segment in LIME's linear model, painted over it.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        hiding: how hidden segments are hidden; None: each in its own mean colour, as the package ``lime`` does.
        segments: by name (:func:`~maskexp.attribution.segments.create_segmenter`; LIME: ``quickshift``, which needs
            scikit-image; ``patches16`` does not).
        samples: perturbations of each image (LIME: 1000).
        seed: of the perturbations, which depend on it and on the number of segments alone.
        batch_size: perturbed images at once; the largest batch that fits if None.
        precision: in which masked images go through the network, ``bf16`` or ``fp32``; None: as it runs around this
            function. bf16 takes half to two thirds of the time where the device computes in it.

    Returns:
        ``(B, 1, H, W)`` float32, of either sign; an image that is a single segment has a constant map.

    Source:
        Ribeiro et al., "Why Should I Trust You?", KDD 2016; see :func:`lime_weights`.
    """
    labels, drawn = create_segmenter(segments)(images), torch.zeros(1, dtype=torch.int64)
    maps = []
    for i in range(len(images)):
        image, own, chosen = images[i : i + 1], labels[i : i + 1], target[i : i + 1]
        hide = SegmentMean(image, own) if hiding is None else hiding
        designs = random_designs(segment_counts(own), samples, drawn, seed)
        weights = lime_weights(
            network, image, own, hide, chosen, designs=designs, batch_size=batch_size, precision=precision
        )
        maps.append(paint_segments(weights, own).float())
    return torch.cat(maps)


class SegmentMean(Fill):
    """Paint each hidden segment of one image in its own mean colour.

    Args:
        image: ``(1, C, H, W)``; images that are shown later are copies of it.
        segments: ``(1, H, W)`` int64.
    """

    def __init__(self, image: Tensor, segments: Tensor) -> None:
        flat, channels = segments.flatten(), image.shape[1]
        count = int(flat.max()) + 1
        sums = image.new_zeros(channels, count).index_add_(1, flat, image[0].flatten(1))
        means = sums / torch.bincount(flat, minlength=count)
        self.colours = means[:, flat].view(image.shape)

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images with the mean colours where hidden."""
        return torch.where(visible, images, self.colours)


@torch.no_grad()
def lime_weights(
    network: nn.Module,
    images: Tensor,
    segments: Tensor,
    hiding: InputMasking,
    target: Tensor | None = None,
    *,
    designs: Tensor | None = None,
    samples: int = 512,
    seed: int = 0,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    batch_size: int | None = None,
    precision: Precision | None = None,
) -> Tensor:
    r"""Explain predictions by weights of segments (LIME for images).

    Every row of a binary design says which segments of the image are visible; the network's probability of the target
    is regressed on the rows by weighted ridge regression with an intercept. A row of *k* out of *n* visible segments
    has the cosine distance :math:`d = 1 - \sqrt{k / n}` from the whole image and the weight
    :math:`\sqrt{\exp(-d^2 / 0.25^2)}`.

    Args:
        network: any classifier in evaluation mode that returns logits ``(B, K)`` or a
            :class:`~maskexp.types.Prediction`.
        images: ``(B, C, H, W)`` float in the range that the network takes.
        segments: ``(B, H, W)`` int64, numbered 0, 1, … in each image (:mod:`maskexp.attribution.segments`).
        hiding: how hidden segments are hidden. LIME's own code paints each in its mean colour; layer masking is that of
            Balasubramanian & Feizi.
        target: ``(B,)`` class to explain; the predicted class if None.
        designs: ``(B, N, S)`` bool, the visible segments of each perturbation. Give the same ones
            (:func:`random_designs`) to compare ways of hiding; drawn anew if None.
        samples: perturbations N of each image, if ``designs`` is None (Balasubramanian & Feizi: 512; LIME: 1000).
        seed: of the draw, if ``designs`` is None. The n-th image of a batch takes the n-th draw.
        kernel_width: of the weights (LIME: 0.25).
        alpha: strength of the ridge penalty (LIME: 1).
        batch_size: perturbed images that go through the network at once; the largest batch that fits if None.
        precision: in which masked images go through the network, ``bf16`` or ``fp32``; None: as it runs around this
            function. bf16 takes half to two thirds of the time where the device computes in it.

    Returns:
        ``(B, S)`` weights in float64 on the CPU, S the largest number of segments; 0 for segments that an image does
        not have, or that are visible in all perturbations.

    Raises:
        ValueError: if shapes do not fit, or ``samples``, ``kernel_width`` or ``alpha`` are impossible.

    Source:
        Ribeiro et al., "Why Should I Trust You?", KDD 2016, and the authors' package ``lime`` 0.2.0.1, whose selection
        of features keeps all segments of an image.
    """
    if kernel_width <= 0 or alpha <= 0:
        raise ValueError(f"kernel_width and alpha must be greater than 0, not {kernel_width} and {alpha}")
    counts = segment_counts(segments)
    if designs is None:
        designs = random_designs(counts, samples, torch.arange(len(images)), seed)
    _check(images, segments, counts, designs)
    if target is None:
        everything = torch.ones_like(segments, dtype=torch.bool)[:, None]
        target = logits_of(hiding(network, images, everything)).argmax(dim=1)
    with in_precision(images, precision):
        scores = torch.stack(
            [
                _probabilities(network, images[i], segments[i], hiding, int(target[i]), designs[i], batch_size)
                for i in range(len(images))
            ]
        )
    return _weighted_ridge(designs.cpu().double(), scores.cpu().double(), counts.cpu(), kernel_width, alpha)


def random_designs(counts: Tensor, samples: int, index: Tensor, seed: int = 0) -> Tensor:
    """Draw which segments are visible in each perturbation: each with probability 1/2, in the first row all.

    Args:
        counts: ``(B,)`` int64 segments of each image.
        samples: perturbations N of an image.
        index: ``(B,)`` int64, the row of each image in its split: with the seed all that the draw depends on.
        seed: of the draw.

    Returns:
        ``(B, N, S)`` bool on the CPU, S the largest number of segments, False beyond an image's own.

    Raises:
        ValueError: if there are fewer than 2 samples.
    """
    if samples < 2:
        raise ValueError(f"samples is {samples}; LIME needs at least 2 perturbations, and a few for each segment")
    designs = torch.zeros(len(counts), samples, int(counts.max()) if len(counts) else 0, dtype=torch.bool)
    for design, count, row in zip(designs, counts.tolist(), index.tolist(), strict=True):
        drawn = np.random.default_rng([seed, row]).random((samples, count)) < 0.5
        drawn[0] = True
        design[:, :count] = torch.from_numpy(drawn)
    return designs


def paint_segments(weights: Tensor, segments: Tensor) -> Tensor:
    """Return the map ``(B, 1, H, W)`` in which each pixel has the weight, of ``(B, S)``, of its segment."""
    weights = weights.to(segments.device, real_dtype(segments.device) if weights.is_floating_point() else None)
    return weights.gather(1, segments.flatten(1)).view(segments.shape)[:, None]


def _probabilities(
    network: nn.Module,
    image: Tensor,
    segments: Tensor,
    hiding: InputMasking,
    target: int,
    design: Tensor,
    batch_size: int | None,
) -> Tensor:
    """Return the probability of the target ``(N,)`` for each row of a design ``(N, S)``."""
    found = torch.zeros(len(design), device=image.device)
    design = design.to(image.device)

    @torch.inference_mode()
    def run(start: int, stop: int) -> None:
        visible = design[start:stop][:, segments][:, None]
        perturbed = laid_out(image.expand(len(visible), -1, -1, -1))
        found[start:stop] = logits_of(hiding(network, perturbed, visible)).softmax(dim=1)[:, target]

    in_batches(run, len(design), network, image[None], batch_size, "lime")
    return found


def _weighted_ridge(designs: Tensor, scores: Tensor, counts: Tensor, kernel_width: float, alpha: float) -> Tensor:
    """Regress scores ``(B, N)`` on designs ``(B, N, S)``; columns that are always 0 get the weight 0."""
    distance = 1 - (designs.sum(dim=2) / counts[:, None]).sqrt()
    importance = torch.exp(-(distance**2) / kernel_width**2).sqrt()[..., None]
    total = importance.sum(dim=1, keepdim=True)
    rows = designs - (importance * designs).sum(dim=1, keepdim=True) / total
    targets = scores[..., None] - (importance * scores[..., None]).sum(dim=1, keepdim=True) / total
    gram = rows.mT @ (importance * rows) + alpha * torch.eye(rows.shape[2], dtype=rows.dtype)
    weights: Tensor = torch.linalg.solve(gram, rows.mT @ (importance * targets))
    return weights[..., 0]


def _check(images: Tensor, segments: Tensor, counts: Tensor, designs: Tensor) -> None:
    if segments.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"segments are {tuple(segments.shape)}, but images {tuple(images.shape)} need one map each")
    needed = int(counts.max()) if len(counts) else 0
    if designs.dtype != torch.bool or designs.ndim != 3 or len(designs) != len(images) or designs.shape[2] != needed:
        raise ValueError(
            f"designs are {tuple(designs.shape)} of {designs.dtype}; {len(images)} images of up to {needed} segments "
            f"need ({len(images)}, samples, {needed}) of bool"
        )
