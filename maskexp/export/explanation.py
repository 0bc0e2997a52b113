"""What a model says about one image file, as arrays: the same from a checkpoint and from an exported model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Explainer", "Explanation", "NamedMap"]


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A map over the image.

    Attributes:
        name: ``own`` for what the method itself explains its decision by, or that of a post-hoc map.
        title: for sentences.
        values: ``(S, S)`` in [0, 1].
    """

    name: str
    title: str
    values: NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision about one image, and what it was made from.

    Attributes:
        image: ``(S, S, 3)`` uint8, the image as the network saw it.
        logits: ``(K,)`` class scores before the softmax.
        maps: those that were asked for and that the model has.
    """

    image: NDArray[np.uint8]
    logits: NDArray[np.floating[Any]]
    maps: tuple[NamedMap, ...]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The softmax of the logits, ``(K,)``."""
        powers = np.exp(self.logits.astype(np.float64) - float(self.logits.max()))
        shares: NDArray[np.float64] = powers / powers.sum()
        return shares


class Explainer(Protocol):
    """A trained model that explains image files by chosen maps."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per logit."""
        ...

    def choose(self, maps: Sequence[str]) -> None:
        """Choose the maps by name; none given is the method's own.

        Raises:
            ValueError: if the model cannot be explained by one of them.
        """
        ...

    def explain(self, path: Path) -> Explanation:
        """Return what the model says about an image file."""
        ...
