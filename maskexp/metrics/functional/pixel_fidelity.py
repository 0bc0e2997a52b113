"""Pixel-perturbation fidelity: accuracy without, or with nothing but, the pixels that an attribution puts first."""

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
    share_name,
    validated_shares,
)

__all__ = ["Protocol", "pixel_fidelity"]

Protocol = Literal["remove", "keep"]
SHARES = (0.0, 0.05, 0.1, 0.2)


def pixel_fidelity(
    classify: Classify,
    images: Tensor,
    attribution: Tensor,
    label: Tensor,
    *,
    shares: Sequence[float] = SHARES,
    protocol: Protocol = "remove",
) -> dict[str, Tensor]:
    r"""Compute the accuracy after the top share of pixels was hidden, or all but it.

    With :math:`T_k(A_i)` the :math:`\text{round}(k \cdot HW)` pixels of image :math:`i` with the highest attribution
    (:func:`~maskexp.metrics.functional.most_attributed`) and a way of hiding :math:`h`:

    .. math:: \text{acc}_k = \frac{1}{N} \sum_i \left[\arg\max f(h(x_i, T_k(A_i))) = y_i\right]

    The range is [0, 1]. Lower is better where pixels are removed, higher where they are kept. An accuracy falls because
    the pixels mattered *or* because the image no longer looks like one: a share of 0 and the attribution
    ``control_attribution("random", …)`` belong beside every value.

    Source: COMET (Zhang et al., ECCV 2024), with 5, 10 and 20 %, removed and painted in the data's mean; the exact
    count per image instead of a quantile over the batch, the way of hiding as an argument and the controls are ours.
    ``keep`` is the protocol of DiET (Bhalla et al., 2023).

    Args:
        classify: ``(images, visible) -> logits``; a way of hiding put onto a classifier, e.g.
            ``lambda images, visible: hiding(network, images, visible).logits``.
        images: ``(B, C, H, W)``, whatever ``classify`` takes.
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
        label: ``(B,)`` class indices.
        shares: *k*, each in [0, 1].
        protocol: ``remove`` the selected pixels, or ``keep`` nothing else.

    Returns:
        ``acc_removed_05`` or ``acc_kept_05`` for a share of 0.05, and so on.

    Raises:
        ValueError: if a share, the protocol or a shape is wrong, or the attribution is not finite.

    Example:
        >>> def classify(images, visible):  # a bright left pixel means class 1
        ...     return torch.stack([torch.full((len(images),), 0.5), (images * visible)[:, 0, 0, 0]], dim=1)
        >>> images, attribution = torch.ones(1, 1, 1, 2), torch.tensor([[[0.9, 0.1]]])
        >>> result = pixel_fidelity(classify, images, attribution, torch.tensor([1]), shares=[0, 0.5])
        >>> {name: value.item() for name, value in result.items()}
        {'acc_removed_00': 1.0, 'acc_removed_50': 0.0}
    """
    shares, protocol = validated_shares(shares), validated_protocol(protocol)
    correct = correct_per_share(classify, images, attribution, label, shares, protocol)
    return accuracy_by_share(correct, torch.tensor(len(label)), shares, protocol)


def validated_protocol(protocol: Protocol) -> Protocol:
    """Return the protocol if it is one.

    Raises:
        ValueError: if it is not.
    """
    if protocol not in ("remove", "keep"):
        raise ValueError(f"protocol is 'remove' or 'keep', not {protocol!r}")
    return protocol


def correct_per_share(
    classify: Classify,
    images: Tensor,
    attribution: Tensor,
    label: Tensor,
    shares: tuple[float, ...],
    protocol: Protocol,
) -> Tensor:
    """Count the images of a batch that are classified right at each share, int64 ``(S,)``; no image, no call."""
    rank = rank_for_images(attribution, images, label)
    correct = torch.zeros(len(shares), dtype=torch.int64, device=label.device)
    for i, share in enumerate(shares if len(rank) else ()):
        selected = rank < pixels_of_share(share, rank[0].numel())
        logits = classify(images, selected if protocol == "keep" else ~selected)
        correct[i] = (logits.argmax(dim=1) == label).sum()
    return correct


def accuracy_by_share(
    correct: Tensor, total: Tensor, shares: tuple[float, ...], protocol: Protocol
) -> dict[str, Tensor]:
    """Return the accuracy at each share by name; NaN where there is no image."""
    accuracy = correct.to(real_dtype(correct.device)) / total.to(correct.device)
    done = "kept" if protocol == "keep" else "removed"
    return {f"acc_{done}_{share_name(share)}": value for share, value in zip(shares, accuracy, strict=True)}
