"""What a case is: a metric, its inputs, and its definition as plain loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchmetrics import Metric

__all__ = ["IMAGES", "Case", "Values"]

IMAGES = 7
Values = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A metric, the arguments of its ``update`` for all images, and its definition on those that are tensors."""

    make: Callable[[], Metric]
    inputs: tuple[Any, ...]
    loop: Callable[..., Values]
