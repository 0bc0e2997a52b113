"""Attribution maps by name: what any classifier can be explained by after the fact."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from maskexp.metrics import CONTROLS
from maskexp.suggestions import did_you_mean
from maskexp.types import OWN, Prediction

__all__ = [
    "DEFAULT_MAPS",
    "AttributionMap",
    "ExplainableNetwork",
    "add_attributions",
    "attribution_map",
    "attribution_names",
    "map_title",
    "register_attribution",
    "validated_maps",
]

GRAD_CAM = "grad_cam"
DEFAULT_MAPS = (OWN, GRAD_CAM)
"""The method's own attribution, and Grad-CAM, which is the same map for every method."""


class ExplainableNetwork(Protocol):
    """A network that can be explained after the fact; every :class:`~maskexp.models.network.Network` is one."""

    def __call__(self, images: Tensor) -> Prediction:
        """Return the prediction for images ``(B, 3, H, W)`` in [0, 1], with its last spatial features."""
        ...

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the features of a prediction."""
        ...

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        ...


class AttributionMap(Protocol):
    """A way of explaining a classifier: ``(network, images, target) -> map``."""

    def __call__(
        self, network: ExplainableNetwork, images: Tensor, target: Tensor, features: Tensor | None = None
    ) -> Tensor:
        """Explain a class of each image.

        Args:
            network: in evaluation mode.
            images: ``(B, 3, H, W)`` float in [0, 1].
            target: ``(B,)`` int64 class to explain.
            features: ``Prediction.features`` of these images, where they are computed already; a map that does not need
                them ignores them.

        Returns:
            ``(B, 1, h, w)`` float32 in [0, 1], higher where the class has more evidence; on a grid of its own, from
            which it is enlarged bilinearly.
        """
        ...


_MAPS: dict[str, AttributionMap] = {}
_TITLES: dict[str, str] = {OWN: "own attribution"} | {name: name.replace("_", " ") for name in CONTROLS}


def register_attribution(name: str, title: str | None = None) -> Callable[[AttributionMap], AttributionMap]:
    """Make a map known by a name, under which evaluations, results and charts show it.

    A file of :mod:`maskexp.attribution` is imported by itself; any other has to be imported before the name is used.

    Args:
        name: lower-case letters, digits and underscores, e.g. ``score_cam``.
        title: for legends and headings; the name with spaces if None.

    Raises:
        ValueError: if the name is taken or is no such word.

    Example:
        >>> @register_attribution("first_colour", title="first colour")
        ... def first_colour(network, images, target, features=None):
        ...     return images[:, :1]
        >>> attribution_map("first_colour") is first_colour
        True
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"a map is named by lower-case letters, digits and underscores, not {name!r}")
    if name in _TITLES:
        raise ValueError(f"there is a map called {name!r} already")

    def register(compute: AttributionMap) -> AttributionMap:
        _MAPS[name] = compute
        _TITLES[name] = title or name.replace("_", " ")
        return compute

    return register


def attribution_names() -> tuple[str, ...]:
    """Return the names of all registered maps."""
    return tuple(_MAPS)


def attribution_map(name: str) -> AttributionMap:
    """Return a registered map.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in _MAPS:
        raise ValueError(f"there is no map called {name!r}; {did_you_mean(name, [OWN, *_MAPS])}")
    return _MAPS[name]


def map_title(name: str) -> str:
    """Return what legends and headings call a map: the method's own, a registered one or a control."""
    return _TITLES.get(name, name.replace("_", " "))


def validated_maps(maps: Sequence[str]) -> tuple[str, ...]:
    """Return the names of maps once each, if there is one and all are known.

    Raises:
        ValueError: if not.

    Example:
        >>> validated_maps(["own", "grad_cam", "own"])
        ('own', 'grad_cam')
    """
    if isinstance(maps, str) or not maps:
        raise ValueError(f"maps are a list of at least one of {', '.join((OWN, *_MAPS))}, not {maps!r}")
    for name in maps:
        if name != OWN:
            attribution_map(name)
    return tuple(dict.fromkeys(maps))


def add_attributions(
    prediction: Prediction,
    network: ExplainableNetwork,
    images: Tensor,
    target: Tensor | None = None,
    maps: Sequence[str] = DEFAULT_MAPS,
) -> Prediction:
    """Add the maps of these names that a prediction lacks.

    The own attribution of a network with masks is its mask, and is there already; Grad-CAM takes its place otherwise.

    Args:
        prediction: of these images, with its last spatial features.
        network: that made it.
        images: ``(B, 3, H, W)`` in [0, 1].
        target: ``(B,)`` class that is explained; the predicted class if None.
        maps: names of maps.

    Returns:
        The prediction.
    """
    target = prediction.logits.argmax(dim=1) if target is None else target
    stands_in = OWN in maps and OWN not in prediction.attributions
    for name in (GRAD_CAM, *maps) if stands_in else maps:
        if name not in prediction.attributions and name != OWN:
            prediction.attributions[name] = attribution_map(name)(network, images, target, prediction.features)
    if stands_in:
        prediction.attributions[OWN] = prediction.attributions[GRAD_CAM]
    return prediction
