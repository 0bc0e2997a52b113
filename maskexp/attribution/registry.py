"""Attribution maps by name: what any classifier can be explained by after the fact."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from maskexp.masking.inputs import InputMasking, create_input_masking
from maskexp.metrics import CONTROLS
from maskexp.metrics.functional.inputs import minmax_normalize
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
    "registered_name",
    "require_maps",
    "validated_maps",
]

GRAD_CAM = "grad_cam"
DEFAULT_MAPS = (OWN, GRAD_CAM)
"""The method's own attribution, and Grad-CAM, which is the same map for every method."""

Scale = Literal["positive", "min_max"]
"""How values become a map in [0, 1]: what speaks for the class, divided by its maximum; or all, stretched."""


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

    def __call__(self, network: Any, images: Tensor, target: Tensor, features: Tensor | None = None) -> Tensor:
        """Explain a class of each image.

        Args:
            network: in evaluation mode; an :class:`ExplainableNetwork`, or any module that returns logits, if the map
                needs no more.
            images: ``(B, 3, H, W)`` float in [0, 1].
            target: ``(B,)`` int64 class to explain.
            features: ``Prediction.features`` of these images, where they are computed already; a map that does not need
                them ignores them.

        Returns:
            ``(B, 1, h, w)`` float32 in [0, 1], higher where the class has more evidence; on a grid of its own, from
            which it is enlarged bilinearly.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Registered:
    """A map, how its values are scaled, and what refuses a network that it cannot explain."""

    compute: Callable[..., Tensor]
    scale: Scale | None
    check: Callable[..., None] | None


_MAPS: dict[str, _Registered] = {}
_TITLES: dict[str, str] = {OWN: "own attribution"} | {name: name.replace("_", " ") for name in CONTROLS}


def register_attribution(
    name: str, title: str | None = None, scale: Scale | None = None, check: Callable[..., None] | None = None
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Make a map known by a name, under which evaluations, results and charts show it.

    A file of :mod:`maskexp.attribution` is imported by itself; any other has to be imported before the name is used.
    The keyword-only arguments of the function are its settings, which a name may carry: see :func:`attribution_map`.

    Args:
        name: lower-case letters, digits and underscores, e.g. ``score_cam``.
        title: for legends and headings; the name with spaces if None.
        scale: how values become a map in [0, 1]: ``positive`` (negative ones are 0, each map is divided by its
            maximum) or ``min_max`` (each map is stretched); None if the function returns such maps. A map without
            (other) evidence is 0.
        check: called with the network and the settings before any image is explained; raises a ValueError if the map
            cannot explain it.

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

    def register(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        _MAPS[name] = _Registered(compute, scale, check)
        _TITLES[name] = title or name.replace("_", " ")
        return compute

    return register


def attribution_names() -> tuple[str, ...]:
    """Return the names of all registered maps."""
    return tuple(_MAPS)


def attribution_map(name: str) -> AttributionMap:
    """Return a registered map.

    Args:
        name: under which it is registered, with settings behind it if they are to differ from the defaults, each as
            ``:setting=value``: ``rise:masks=4000:hiding=layer``, ``grad_cam:layer=layer3``.

    Raises:
        ValueError: if there is no map or no setting of this name, or its value is impossible.
    """
    found, settings = _parsed(name)
    compute = partial(found.compute, **settings) if settings else found.compute
    if found.scale is None:
        return compute
    return partial(_scaled, compute, found.scale)


def registered_name(name: str) -> str:
    """Return the name of a map without its settings."""
    return name.partition(":")[0]


def map_title(name: str) -> str:
    """Return what legends and headings call a map: the method's own, a registered one or a control.

    Example:
        >>> map_title("rise:masks=500:cells=10")
        'RISE (masks=500, cells=10)'
    """
    base, _, settings = name.partition(":")
    title = _TITLES.get(base, base.replace("_", " "))
    return f"{title} ({settings.replace(':', ', ')})" if settings else title


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


def require_maps(network: Any, maps: Sequence[str]) -> None:
    """Refuse, before any image is explained, a network that one of these maps cannot explain.

    Raises:
        ValueError: if there is one, in a sentence that says why.
    """
    for name in maps:
        if name != OWN:
            found, settings = _parsed(name)
            if found.check is not None:
                found.check(network, **settings)


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


def _scaled(
    compute: AttributionMap,
    scale: Scale,
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
) -> Tensor:
    values = compute(network, images, target, features).float()
    if not values.numel():
        return values
    if scale == "min_max":
        return minmax_normalize(values)
    values = values.relu()
    return values / values.amax(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)


def _parsed(name: str) -> tuple[_Registered, dict[str, Any]]:
    """Return a registered map, and the settings that a name carries as values."""
    if not isinstance(name, str):
        raise ValueError(f"a map is named by a string, not {name!r}")
    base, *parts = name.split(":")
    if base not in _MAPS:
        raise ValueError(f"there is no map called {base!r}; {did_you_mean(base, [OWN, *_MAPS])}")
    found = _MAPS[base]
    parameters = inspect.signature(found.compute).parameters.values()
    names = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    values: dict[str, Any] = {}
    for part in parts:
        setting, equals, text = part.partition("=")
        if setting not in names or not text:
            known = did_you_mean(setting, names) if names else "it has none"
            what = f"setting {setting!r}" if equals else f"setting in {part!r}, which lacks a ="
            raise ValueError(f"the map {base} has no {what}; {known}")
        values[setting] = _value(base, setting, text, get_type_hints(found.compute)[setting])
    return found, values


def _value(base: str, setting: str, text: str, hint: Any) -> Any:
    """Return the value of a setting, of the type that the signature has for it."""
    kinds = {kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)}
    if InputMasking in kinds:
        return create_input_masking(text)
    if choices := [choice for each in kinds if get_origin(each) is Literal for choice in get_args(each)]:
        if text not in choices:
            raise ValueError(f"the setting {setting} of the map {base} is {text!r}; choose {' or '.join(choices)}")
        return text
    if str in kinds:
        return text
    kind = float if float in kinds else int
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not (value > 0 or (setting == "seed" and value == 0)):
        whole = "a number" if kind is float else "a whole number"
        raise ValueError(f"the setting {setting} of the map {base} is {text!r}; it has to be {whole} greater than 0")
    return value
