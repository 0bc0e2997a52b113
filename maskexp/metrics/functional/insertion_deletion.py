"""Insertion and deletion: the probability of a class while pixels appear or vanish in the order of an attribution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import real_dtype
from maskexp.metrics.functional.pixel_selection import Classify, pixels_of_share, rank_for_images
from maskexp.metrics.functional.probability import class_probability

__all__ = ["Direction", "insertion_deletion"]

Direction = Literal["insertion", "deletion"]
STEPS = 224  # RISE: as many pixels a step as a image of 224 × 224 has in a row


def insertion_deletion(
    classify: Classify,
    images: Tensor,
    attribution: Tensor,
    target: Tensor,
    *,
    direction: Direction,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    r"""Compute the mean probability of a class while pixels are inserted or deleted, highest attribution first.

    With the selection :math:`T_k` of :func:`~maskexp.metrics.functional.most_attributed` at the fractions
    :math:`k_j = j / n`, of which deletion hides :math:`T_k` and insertion everything else:

    .. math::
        p_j = \frac{1}{N} \sum_i p_{c_i}(h(x_i, T_{k_j})) \qquad \text{AUC} = \sum_{j=1}^{n} \frac{p_{j-1} + p_j}{2n}

    The area, ``torch.trapezoid(probability, fraction)``, is in [0, 1]: higher is better for insertion, lower for
    deletion. For a model that is linear in its pixels the two areas of one map add up to 1.

    Source: Petsiuk et al. (2018, RISE) and their released code: deletion paints pixels in the mean (0 after
    normalisation), insertion starts from a Gaussian blur, the class is the one predicted on the whole image, and a step
    is as many pixels as a row of 224 has. The stable order of equal pixels is ours.

    Args:
        classify: ``(images, visible) -> logits``; a way of hiding put onto a classifier.
        images: ``(B, C, H, W)``, whatever ``classify`` takes.
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
        target: ``(B,)`` class whose probability is meant.
        direction: ``insertion`` or ``deletion``.
        steps: *n*, equal steps from no pixel to all of them.

    Returns:
        The ``(n + 1,)`` fractions and the mean probability at each; NaN where there is no image.

    Raises:
        ValueError: if an argument or a shape is wrong, or the attribution is not finite.

    Example:
        >>> weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
        >>> def classify(images, visible):  # the probability of class 1 is the weight of what can be seen
        ...     seen = (visible.flatten(1) * weights).sum(dim=1)
        ...     return torch.stack([1 - seen, seen], dim=1).log()
        >>> inputs = torch.ones(1, 3, 2, 2), weights.view(1, 2, 2), torch.tensor([1])
        >>> fraction, probability = insertion_deletion(classify, *inputs, direction="deletion", steps=4)
        >>> [round(p, 6) for p in probability.tolist()], round(torch.trapezoid(probability, fraction).item(), 6)
        ([1.0, 0.6, 0.3, 0.1, 0.0], 0.375)
    """
    direction, steps = validated_direction(direction), validated_steps(steps)
    probability = probability_per_step(classify, images, attribution, target, direction, steps)
    return fractions_of_steps(steps).to(probability), probability.mean(dim=0)


def validated_direction(direction: Direction) -> Direction:
    """Return the direction if it is one.

    Raises:
        ValueError: if it is not.
    """
    if direction not in ("insertion", "deletion"):
        raise ValueError(f"direction is 'insertion' or 'deletion', not {direction!r}")
    return direction


def validated_steps(steps: int) -> int:
    """Return the number of steps if there is one.

    Raises:
        ValueError: if not.
    """
    if steps < 1:
        raise ValueError(f"steps has to be at least 1, not {steps}")
    return steps


def fractions_of_steps(steps: int) -> Tensor:
    """Return ``steps + 1`` numbers evenly from 0 to 1."""
    return torch.arange(steps + 1, dtype=torch.float64) / steps


def probability_per_step(
    classify: Classify, images: Tensor, attribution: Tensor, target: Tensor, direction: Direction, steps: int
) -> Tensor:
    """Return the probability of each image's class after each number of pixels, ``(B, steps + 1)``."""
    rank = rank_for_images(attribution, images, target)
    probability = torch.empty((len(rank), steps + 1), dtype=real_dtype(rank.device), device=rank.device)
    for step in range(steps + 1 if len(rank) else 0):
        selected = rank < pixels_of_share(step / steps, rank[0].numel())
        logits = classify(images, selected if direction == "insertion" else ~selected)
        probability[:, step] = class_probability(logits, target)
    return probability
