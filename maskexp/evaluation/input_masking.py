"""Classifiers that are shown parts of an image: which part of the network is asked, and how the rest is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from maskexp.evaluation.attributions import image_size, maps_of
from maskexp.evaluation.subsets import every_nth
from maskexp.masking.inputs import InputMasking, create_input_masking
from maskexp.metrics import control_attribution
from maskexp.metrics.functional.pixel_selection import Classify
from maskexp.models.network import Network
from maskexp.types import Batch, Prediction

__all__ = [
    "PATHS",
    "SOURCES",
    "Path",
    "asked_part",
    "chosen_paths",
    "distinct_paths",
    "input_maskings",
    "maps_and_control",
    "on_part",
    "whole_images",
]

Path = Literal["predictor", "pipeline"]
"""Who looks at the image from which pixels were removed: the deciding part alone, or the whole network anew."""
PATHS: tuple[Path, ...] = get_args(Path)
SOURCES = {"": "own attribution", "_grad_cam": "Grad-CAM", "_random": "random"}
"""Suffixes of the keys for the maps that say which pixels come first, and what they are called."""


def chosen_paths(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths if there is one and all exist.

    Raises:
        ValueError: if not.
    """
    if not paths or not set(paths) <= set(PATHS):
        raise ValueError(f"paths are {', '.join(PATHS)}, at least one of them, not {list(paths)}")
    return tuple(dict.fromkeys(paths))


def distinct_paths(paths: Sequence[Path], network: Network) -> dict[Path, Path]:
    """Return for each path the one that is counted: both are the same for a network without a part of its own."""
    same = network.plain_predictor is network
    return {path: paths[0] if same else path for path in paths}


def asked_part(path: Path, network: Network) -> nn.Module:
    """Return what is shown the image."""
    return network.plain_predictor if path == "predictor" else network


def input_maskings(names: Sequence[str]) -> dict[str, InputMasking]:
    """Return the ways of hiding by name.

    Raises:
        ValueError: if there is none, or one is unknown.
    """
    if not names:
        raise ValueError("there is no way of hiding to judge by; name one, e.g. hiding: [grey]")
    return {name: create_input_masking(name) for name in names}


def on_part(part: nn.Module, hiding: InputMasking) -> Classify:
    """Return ``(images, visible) -> logits`` of a part of a network for a way of hiding."""

    def classify(images: Tensor, visible: Tensor) -> Tensor:
        prediction: Prediction = hiding(part, images, visible)
        return prediction.logits

    return classify


def whole_images(part: nn.Module) -> Classify:
    """Return ``(images, visible) -> logits`` of a part of a network that is shown everything."""
    return lambda images, visible: cast(Prediction, part(images)).logits


def maps_and_control(batch: Batch, prediction: Prediction, every: int, seed: int) -> tuple[Batch, dict[str, Tensor]]:
    """Return the samples whose row is a multiple of ``every``, and their maps by :data:`SOURCES`."""
    rows = batch["index"] % every == 0
    maps = maps_of(prediction, image_size(batch))
    chosen = every_nth(batch, every)
    everywhere = torch.ones_like(chosen["image"][:, :1], dtype=torch.bool)
    control = {"_random": control_attribution("random", everywhere, chosen["index"], seed=seed)}
    return chosen, {source: values[rows] for source, values in maps.items()} | control
