"""Which pixels an attribution puts first: a share of each image, exactly, with ties decided once and for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import batch_of_maps

__all__ = [
    "Classify",
    "attribution_rank",
    "most_attributed",
    "pixels_of_share",
    "rank_for_images",
    "share_name",
    "validated_shares",
]

Classify = Callable[[Tensor, Tensor], Tensor]
"""A classifier and a way of hiding: ``(images, visible) -> logits`` with ``visible`` ``(B, 1, H, W)``, True = keep."""


def most_attributed(attribution: Tensor, share: float) -> Tensor:
    r"""Select the share of pixels with the highest attribution, in each image by itself.

    Exactly :math:`n = \text{round}(k \cdot HW)` pixels are selected, whatever the values: of equal ones those that come
    first in reading order. Maps with large ties, such as binary masks or maps with many zeros, are therefore selected
    from the top: read their scores beside those of a random map. (The released code of COMET compares with a quantile
    over the whole batch, which takes all of a tie and may empty one image of a batch and spare another.)

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers.
        share: *k* in [0, 1].

    Returns:
        ``(B, 1, H, W)`` bool, True where selected.

    Raises:
        ValueError: if the share is outside [0, 1], or the attribution is of another shape or not finite.

    Example:
        >>> most_attributed(torch.tensor([[[0.1, 0.9], [0.9, 0.9]]]), 0.5)
        tensor([[[[False,  True],
                  [ True, False]]]])
    """
    rank = attribution_rank(attribution)
    return rank < pixels_of_share(validated_shares([share])[0], rank[0].numel() if len(rank) else 0)


def attribution_rank(attribution: Tensor) -> Tensor:
    """Return how many pixels of its image come before each pixel, ``(B, 1, H, W)`` int64; 0 is the highest.

    Of equal values the one that comes first in reading order comes first.

    Example:
        >>> attribution_rank(torch.tensor([[[0.1, 0.9], [0.9, 0.2]]]))
        tensor([[[[3, 0],
                  [1, 2]]]])
    """
    maps = batch_of_maps(attribution)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(maps)[:, None]


def rank_for_images(attribution: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """Return :func:`attribution_rank` after a check that there is one map of the image's size, and a class, for each.

    Raises:
        ValueError: if there is not.
    """
    rank = attribution_rank(attribution)
    if rank.shape[-2:] != images.shape[-2:] or not len(rank) == len(images) == len(classes):
        raise ValueError(
            f"images {tuple(images.shape)}, attribution {tuple(attribution.shape)} and classes {tuple(classes.shape)} "
            f"do not fit; resize the attribution to the pixels of the image first"
        )
    return rank


def pixels_of_share(share: float, pixels: int) -> int:
    """Return how many of ``pixels`` pixels a share is, rounded.

    Example:
        >>> [pixels_of_share(share, 224 * 224) for share in (0.05, 0.1, 0.2)]
        [2509, 5018, 10035]
    """
    return round(share * pixels)


def validated_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Return the shares if there is one, and all are different and in [0, 1].

    Raises:
        ValueError: if not.
    """
    if not shares or not all(0 <= share <= 1 for share in shares) or len(set(shares)) != len(shares):
        raise ValueError(f"shares have to be different numbers in [0, 1], at least one, but are {list(shares)}")
    return tuple(shares)


def share_name(share: float) -> str:
    """Return a share in percent, for keys of results.

    Example:
        >>> [share_name(share) for share in (0, 0.05, 0.2, 0.125)]
        ['00', '05', '20', '12.5']
    """
    return f"{round(100 * share, 6):g}".zfill(2)
