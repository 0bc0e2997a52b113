"""From a map of masked features to one vector."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Pooling = Literal["all", "active"]

POOLINGS: tuple[Pooling, ...] = ("all", "active")


def check_pooling(pooling: str) -> None:
    """Refuse a pooling that does not exist.

    Raises:
        ValueError: if ``pooling`` is neither ``all`` nor ``active``.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; choose {' or '.join(POOLINGS)}")


def decide(head: nn.Linear, features: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return a classifier's logits ``(B, K)`` for pooled features, in the type of the classifier.

    Args:
        head: the classifier of C features.
        features: ``(B, C, h, w)`` masked features, see :func:`pool_features`.
        mask: ``(B, 1, h, w)``.
        pooling: ``all`` or ``active``.
    """
    logits: Tensor = head(pool_features(features, mask, pooling).to(head.weight.dtype))
    return logits


def pool_features(features: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Average features over positions, ``(B, C, h, w) -> (B, C)``.

    Args:
        features: masked features, zero outside the mask.
        mask: ``(B, 1, h, w)``.
        pooling: ``all`` positions, or the ``active`` ones only, which hides the mask's area from the classifier; an
            empty mask then gives zeros.
    """
    if pooling == "all":
        return features.mean(dim=(2, 3))
    return features.sum(dim=(2, 3)) / mask.to(features.dtype).sum(dim=(2, 3)).clamp(min=1)
