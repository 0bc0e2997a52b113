"""Parts of a batch, for evaluations that cost too much for every image or need something of it."""

from __future__ import annotations

from collections.abc import Sized
from typing import cast

from torch import Tensor

from maskexp.types import Batch

__all__ = ["check_every", "check_some", "every_nth", "select", "with_foreground"]


def check_every(every: int) -> None:
    """Refuse a step that is no positive number."""
    if every < 1:
        raise ValueError(f"every is {every}; 1 takes every image, 10 one in ten")


def check_seed(seed: int) -> None:
    """Refuse a seed that no draw takes."""
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0")


def check_some(**lists: Sized) -> None:
    """Refuse lists that are empty: nothing would be judged."""
    for name, values in lists.items():
        if not len(values):
            raise ValueError(f"{name} is empty, so that nothing would be judged; name at least one")


def with_foreground(batch: Batch) -> Tensor:
    """Return which samples have a foreground that is not empty, ``(B,)`` bool."""
    return batch["has_foreground"] & batch["foreground"].flatten(1).any(dim=1)


def every_nth(batch: Batch, every: int) -> Batch:
    """Return the samples whose row in the split is a multiple of ``every``, however the split was batched."""
    return batch if every == 1 else select(batch, batch["index"] % every == 0)


def select(batch: Batch, rows: Tensor) -> Batch:
    """Return the samples that ``rows`` marks, ``(B,)`` bool, or numbers."""
    return cast(Batch, {name: cast(Tensor, value)[rows] for name, value in batch.items()})
