"""What a method wants trained before it can be trained itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Pretraining"]


@dataclass(frozen=True)
class Pretraining:
    """Another method, to be trained first on the same data with the same seed and trainer.

    Attributes:
        role: what the result is to the method, e.g. ``detector``.
        method: name of the method to train.
        arguments: arguments of that method, plain values.
        epochs: epochs of its training; as many as the method's own if None.
        checkpoint_argument: the method's own argument that takes the path of the resulting checkpoint.
        selection: metric by which its checkpoint is selected, e.g. ``last``; the run's own rule if None.
    """

    role: str
    method: str
    arguments: Mapping[str, Any]
    epochs: int | None
    checkpoint_argument: str
    selection: str | None = None

    def __post_init__(self) -> None:
        """Refuse a training without an end, or without an epoch.

        Raises:
            ValueError: if ``epochs`` is no number of epochs.
        """
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"{self.epochs} epochs of the {self.role}'s training are asked for; it takes at least 1")
