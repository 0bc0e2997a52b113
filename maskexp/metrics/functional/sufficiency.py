"""Sufficiency and comprehensiveness: what the pixels that an attribution puts first are worth to the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import real_dtype
from maskexp.metrics.functional.pixel_selection import (
    Classify,
    pixels_of_share,
    rank_for_images,
    validated_shares,
)
from maskexp.metrics.functional.probability import class_probability

__all__ = ["comprehensiveness", "sufficiency"]

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
Shown = Literal["selected", "rest"]


def comprehensiveness(
    classify: Classify, images: Tensor, attribution: Tensor, target: Tensor, *, shares: Sequence[float] = SHARES
) -> Tensor:
    r"""Compute the comprehensiveness: the probability that is lost with the top share of pixels, over several shares.

    With the selection :math:`T_k` of :func:`~maskexp.metrics.functional.most_attributed` and :math:`S` shares:

    .. math:: \text{comp} = \frac{1}{S} \sum_k \frac{1}{N} \sum_i \left(p_{c_i}(x_i) - p_{c_i}(x_i \setminus T_k)\right)

    The range is [-1, 1], higher is better: the prediction needed those pixels.

    Source: DeYoung et al. (2020, ERASER), where the mean over shares is called AOPC; the shares 1, 5, 10, 20 and 50 %
    are quoted from memory. There words are removed; here pixels are hidden.

    Args:
        classify: ``(images, visible) -> logits``; a way of hiding put onto a classifier.
        images: ``(B, C, H, W)``, whatever ``classify`` takes.
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
        target: ``(B,)`` class whose probability is meant: the predicted one in ERASER.
        shares: of the pixels of an image, each in [0, 1].

    Returns:
        A scalar; NaN where there is no image.

    Raises:
        ValueError: if a share or a shape is wrong, or the attribution is not finite.

    Example:
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> inputs = torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1])
        >>> round(comprehensiveness(classify, *inputs, shares=[0.5]).item(), 6)
        0.7
    """
    return drop_per_share(classify, images, attribution, target, validated_shares(shares), "rest").mean()


def sufficiency(
    classify: Classify, images: Tensor, attribution: Tensor, target: Tensor, *, shares: Sequence[float] = SHARES
) -> Tensor:
    r"""Compute the sufficiency: the probability that is lost with all but the top share of pixels.

    .. math:: \text{suff} = \frac{1}{S} \sum_k \frac{1}{N} \sum_i \left(p_{c_i}(x_i) - p_{c_i}(T_k)\right)

    The range is [-1, 1], lower is better: those pixels alone are enough. Arguments, result, errors and source are those
    of :func:`comprehensiveness`.

    Example:
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> inputs = torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1])
        >>> round(sufficiency(classify, *inputs, shares=[0.5]).item(), 6)
        0.3
    """
    return drop_per_share(classify, images, attribution, target, validated_shares(shares), "selected").mean()


def drop_per_share(
    classify: Classify, images: Tensor, attribution: Tensor, target: Tensor, shares: tuple[float, ...], shown: Shown
) -> Tensor:
    """Return the loss of probability of every image at every share, ``(B, S)``; no image, no call."""
    rank = rank_for_images(attribution, images, target)
    drops = torch.empty((len(rank), len(shares)), dtype=real_dtype(rank.device), device=rank.device)
    if len(rank) == 0:
        return drops
    whole = class_probability(classify(images, torch.ones_like(rank, dtype=torch.bool)), target)
    for i, share in enumerate(shares):
        selected = rank < pixels_of_share(share, rank[0].numel())
        visible = selected if shown == "selected" else ~selected
        drops[:, i] = whole - class_probability(classify(images, visible), target)
    return drops
