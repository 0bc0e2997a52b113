"""Explain images with a network of timm and a file of its weights, with nothing of ours trained before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.data.transforms_factory import create_transform
from torchvision.transforms.v2.functional import to_pil_image

from maskexp.attribution import require_maps
from maskexp.cli.errors import CommandError
from maskexp.cli.explain_checkpoint import chosen_maps, explanation_by
from maskexp.data.loading.pixels import read_rgb
from maskexp.export.explanation import Explanation
from maskexp.methods.checkpoint import is_checkpoint
from maskexp.models import Classifier
from maskexp.models.backbones import HUB, head_classes, published_preprocessing
from maskexp.types import OWN

__all__ = ["TimmExplainer"]

DEFAULT = "grad_cam"


class TimmExplainer:
    """A network of timm in evaluation mode on the CPU; classes go by their number.

    Images are resized and cropped as timm evaluates the network: size, share of the crop and interpolation are those of
    its configuration, as mean and standard deviation are.

    Args:
        name: of the network.
        weights: a file, or ``timm`` for those of the hub; the head has as many classes as theirs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no such network, or the weights do not fit it.
        CommandError: if the weights are a checkpoint of ours, which is explained by itself.
    """

    def __init__(self, name: str, weights: str) -> None:
        if weights != HUB and not weights.endswith(".safetensors") and is_checkpoint(weights):
            raise CommandError(f"{weights} is a checkpoint of maskexp; explain it by itself, without {name}")
        config = published_preprocessing(name)
        classes = head_classes(name, weights)
        _, height, width = config["input_size"]
        self.transform: Any = create_transform(**config, normalize=False)
        self.network = Classifier(name, classes, weights, (height, width)).eval()
        self.class_names = tuple(f"class {number}" for number in range(classes))
        self.maps: tuple[str, ...] = (DEFAULT,)

    def choose(self, maps: Sequence[str]) -> None:
        """Choose post-hoc maps by name, with settings behind it; none given is Grad-CAM.

        Raises:
            CommandError: if the method's own map is asked for.
            ValueError: if one is unknown, or the network cannot be explained by it.
        """
        self.maps = chosen_maps(maps, DEFAULT)
        if OWN in self.maps:
            raise CommandError(
                f"a network of timm has no map of its own; choose another --map than {OWN}, such as {DEFAULT} or rise"
            )
        require_maps(self.network, self.maps)

    def explain(self, path: Path) -> Explanation:
        """Return what the network says about an image file."""
        image: torch.Tensor = self.transform(to_pil_image(read_rgb(path)))
        with torch.no_grad():
            prediction = self.network(image[None].float() / 255)
        return explanation_by(self.maps, self.network, prediction, image)
