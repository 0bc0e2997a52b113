"""The spatial features that maps of the CAM family explain: those before a network's head, or any layer's by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maskexp.attribution.forward import logits_of
from maskexp.suggestions import did_you_mean
from maskexp.types import Prediction

__all__ = ["SpatialFeatures", "check_layer", "find_layer"]

NAMED = 40
"""Layers that a message names."""


class SpatialFeatures:
    """Features of images at one place of a network, and what the network makes of others in their place.

    Args:
        network: the classifier, in evaluation mode.
        images: ``(B, C, H, W)`` as the network takes them.
        features: ``Prediction.features`` of the images; computed if None. Not used with a layer.
        layer: name of a layer, or its unambiguous end; None for the features that the network itself returns, or, of a
            bare network of timm, those that its ``forward_head`` takes.

    Attributes:
        values: the features as the network lays them out, without a gradient.

    Raises:
        ValueError: if there is no such layer, or its output is no map of features.
    """

    def __init__(self, network: Any, images: Tensor, features: Tensor | None, layer: str | None) -> None:
        check_layer(network, layer)
        self.network, self.images = (
            _TimmNetwork(network) if layer is None and _is_bare_timm(network) else network,
            images,
        )
        self.title = type(network).__name__
        self.layer = find_layer(network, layer) if layer is not None else None
        self.name = layer
        if layer is not None:
            self.values = self._output()
        else:
            if features is None:
                with torch.no_grad():
                    features = self.network(images).features
            if features is None:
                raise ValueError(
                    f"{self.title} returns no last spatial features, from which maps like Grad-CAM are "
                    "computed; name a layer, e.g. grad_cam:layer=NAME, or choose a map that asks for none, such as rise"
                )
            self.values = features.detach()
        self._check_map()

    def logits(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the logits ``(N, K)`` float32 that the network makes of other features.

        Args:
            values: ``(N, …)``, laid out as :attr:`values`.
            rows: ``(N,)`` int64, the image of the batch that each belongs to; the whole batch in its order if None.
        """
        if self.layer is None:
            return logits_of(self.network.classify(values))
        # A copy: layers behind this one may work in place.
        hook = self.layer.register_forward_hook(lambda *_: values.clone())
        try:
            return logits_of(self.network(self.images if rows is None else self.images[rows]))
        finally:
            hook.remove()

    def as_map(self, values: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(N, C, h, w)`` float32."""
        if self._is_native(values):
            return values.float()
        found: Tensor = self.network.as_map(values)
        return found.float()

    def without_channels(self, values: Tensor, channels: Tensor) -> Tensor:
        """Return features of which each lacks one channel.

        Args:
            values: ``(N, …)``, laid out as :attr:`values`.
            channels: ``(N,)`` int64, the channel that is 0 in each.
        """
        values = values.clone()
        each = torch.arange(len(values), device=values.device)
        if self._is_native(values) or self.network.as_map(values) is values:
            values[each, channels] = 0
        else:
            values[each, ..., channels] = 0
        return values

    def _is_native(self, values: Tensor) -> bool:
        """Return whether features are laid out as ``(B, C, h, w)`` by anything that does not lay out its own."""
        return not hasattr(self.network, "as_map") and values.ndim == 4

    def _output(self) -> Tensor:
        found: list[Any] = []
        hook = self.layer.register_forward_hook(lambda _module, _inputs, output: found.append(output))  # type: ignore[union-attr]
        try:
            with torch.no_grad():
                self.network(self.images)
        finally:
            hook.remove()
        if not found:
            raise ValueError(f"the layer {self.name!r} takes no part when {type(self.network).__name__} classifies")
        if not isinstance(found[-1], Tensor):
            raise ValueError(f"the layer {self.name!r} returns a {type(found[-1]).__name__}, not features")
        return found[-1].detach().clone()

    def _check_map(self) -> None:
        where = f"the layer {self.name!r}" if self.layer is not None else self.title
        try:
            shape = tuple(self.as_map(self.values).shape) if self.values.ndim > 2 else ()
        except (RuntimeError, ValueError, AttributeError):
            shape = ()
        if len(shape) != 4 or self.values.shape[0] != self.images.shape[0]:
            raise ValueError(
                f"{where} returns features {tuple(self.values.shape)} that are no map (B, C, h, w); choose a layer "
                "before the pooling, or build the network as maskexp.models.Classifier"
            )


class _TimmNetwork:
    """A bare network of timm as one that says which spatial features its head sees.

    Its images are normalised already. Tokens are left as they are, and refused as no map: which of them are positions,
    and which layer explains them, is what :class:`maskexp.models.Classifier` knows.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.channels_last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")

    def __call__(self, images: Tensor) -> Prediction:
        features: Tensor = self.network.forward_features(images)
        return Prediction(logits=self.network.forward_head(features), features=features)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits for features."""
        logits: Tensor = self.network.forward_head(features)
        return logits

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features out as ``(B, C, h, w)``."""
        return features.permute(0, 3, 1, 2) if self.channels_last else features


def _says_its_features(network: Any) -> bool:
    return hasattr(network, "classify") and hasattr(network, "as_map")


def _is_bare_timm(network: Any) -> bool:
    return not _says_its_features(network) and hasattr(network, "forward_features") and hasattr(network, "forward_head")


def find_layer(network: Any, name: str) -> nn.Module:
    """Return a layer by its name, or by the end of its name, of which the uppermost layer that has it is meant.

    Raises:
        ValueError: if there is none, or several lie equally high.
    """
    layers: dict[str, nn.Module] = {path: module for path, module in network.named_modules() if path}
    ends = [path for path in layers if path == name or path.endswith(f".{name}")]
    highest = min((path.count(".") for path in ends), default=0)
    ends = [path for path in ends if path.count(".") == highest]
    if len(ends) == 1:
        return layers[ends[0]]
    if ends:
        raise ValueError(f"{name!r} may be any of {len(ends)} layers of {type(network).__name__}: {_listed(ends)}")
    upper = _upper(network)
    near = did_you_mean(name, [*layers, *(path.rpartition(".")[2] for path in upper)], otherwise="")
    there = f"{near} There" if near else "there"
    raise ValueError(
        f"{type(network).__name__} has no layer {name!r}; {there} are {_listed(upper)}, and those inside them"
    )


def check_layer(network: Any, layer: str | None = None, **_: Any) -> None:
    """Refuse a network without this layer, or, where none is named, without spatial features of its own.

    Raises:
        ValueError: if so.
    """
    if layer is not None:
        find_layer(network, layer)
    elif not (_says_its_features(network) or _is_bare_timm(network)):
        raise ValueError(
            f"{type(network).__name__} does not say which spatial features its head sees; name a layer, e.g. "
            "grad_cam:layer=NAME, or build it as maskexp.models.Classifier"
        )


def _upper(network: nn.Module, prefix: str = "") -> list[str]:
    """Return the names of the uppermost layers, of the only part that has layers where there is one such part."""
    parts = dict(network.named_children())
    inner = [name for name, part in parts.items() if next(part.children(), None) is not None]
    if len(inner) == 1:
        return _upper(parts[inner[0]], f"{prefix}{inner[0]}.")
    return [f"{prefix}{name}" for name in parts]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
