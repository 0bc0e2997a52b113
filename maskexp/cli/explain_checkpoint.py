"""Explain images with a checkpoint, which needs torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskexp.attribution import add_attributions, map_title, report_progress, require_maps, validated_maps
from maskexp.cli.errors import CommandError
from maskexp.cli.terminal import ProgressNotes
from maskexp.data.errors import DataError
from maskexp.data.loading.pixels import read_rgb
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.data.transforms.stored import eval_transform
from maskexp.export.explanation import Explanation, NamedMap
from maskexp.methods import load_method
from maskexp.methods.checkpoint import data_spec, read_checkpoint
from maskexp.models.network import Network
from maskexp.types import OWN, Prediction

__all__ = ["CheckpointExplainer", "chosen_maps", "evaluation_pipeline", "explanation_by", "prepare_image"]


class CheckpointExplainer:
    """A trained model in evaluation mode on the CPU, from its checkpoint alone.

    Args:
        path: of the checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint of ours.
        CommandError: if the transform of its evaluation cannot be built again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        checkpoint = read_checkpoint(path)
        try:
            self.pipeline = evaluation_pipeline(checkpoint)
        except DataError as error:
            raise CommandError(f"{os.fspath(path)}: {error}") from error
        self.class_names = data_spec(checkpoint).class_names
        self.method = load_method(path)
        self.maps: tuple[str, ...] = (OWN,)

    def choose(self, maps: Sequence[str]) -> None:
        """Choose the maps by name, with settings behind it, one by one or as lists; none given is the method's own.

        Raises:
            ValueError: if one is unknown, or the network cannot be explained by it.
        """
        self.maps = chosen_maps(maps, OWN)
        require_maps(self.method.network, self.maps)

    def explain(self, path: Path) -> Explanation:
        """Return what the model says about an image file, resized and cropped as in evaluation."""
        image = prepare_image(path, self.pipeline)
        pixels = image[None].float() / 255
        with torch.no_grad():
            prediction = self.method.explain(pixels)
        return explanation_by(self.maps, self.method.network, prediction, image)


def chosen_maps(given: Sequence[str], otherwise: str) -> tuple[str, ...]:
    """Return names of maps that were given one by one or as lists, or another where none was.

    Raises:
        ValueError: if one is unknown.
    """
    names = [name.strip() for text in given for name in text.strip("[] ").split(",")]
    return validated_maps(names or [otherwise])


def explanation_by(maps: Sequence[str], network: Network, prediction: Prediction, image: Tensor) -> Explanation:
    """Return what a network says about an image, with maps of the predicted class.

    Args:
        maps: names.
        network: in evaluation mode.
        prediction: of the image, which lacks none but post-hoc maps.
        image: uint8 ``(3, H, W)``.
    """
    with torch.no_grad(), report_progress(ProgressNotes()):
        add_attributions(prediction, network, image[None].float() / 255, maps=maps)
    found = []
    for name in maps:
        values = prediction.attribution_at((image.shape[-2], image.shape[-1]), name)
        if values is not None:
            found.append(NamedMap(name, map_title(name), values[0, 0].numpy()))
    return Explanation(image.permute(1, 2, 0).numpy(), prediction.logits[0].float().numpy(), tuple(found))


def evaluation_pipeline(checkpoint: dict[str, Any]) -> Pipeline:
    """Return how the images of a checkpoint's evaluation were resized and cropped."""
    transform = eval_transform(checkpoint.get("datamodule_hyper_parameters", {}))
    return Pipeline(data_spec(checkpoint).image_size[0], evaluation=transform)


def prepare_image(path: Path, pipeline: Pipeline) -> Tensor:
    """Return an image file as uint8 ``(3, S, S)``, exactly as ``validate``, ``test`` and ``predict`` see it."""
    pixels = read_rgb(path)
    # Data sets carry the foreground as a fourth channel; with it, resizing takes the same path to the last bit.
    return pipeline.evaluate(torch.cat([pixels, torch.zeros_like(pixels[:1])]))[:3]
