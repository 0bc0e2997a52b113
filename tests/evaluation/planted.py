"""Networks that cheat on purpose, an honest one, and images on which they can be told apart.

Each image shows a bright patch in the colour of its class, somewhere on a background that has a tint of the same
colour; the foreground is the patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.masking.binarize import given_mask
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

SIDE, CELL, CLASSES = 32, 4, 3
GRID = SIDE // CELL
PATCH = 2
"""Side of the patch in cells."""


def planted_spec() -> DataSpec:
    """Three classes, each on either half of the image, 32 × 32 pixels with segmented foregrounds."""
    classes, halves = ("red", "green", "blue"), ("upper", "lower")
    names = tuple(f"{colour} {half}" for colour in classes for half in halves)
    return DataSpec("planted", "custom", classes, halves, names, (SIDE, SIDE), (1,) * len(names), "segmentation")


def planted_images(count: int, seed: int = 0) -> Batch:
    """Draw images of all classes with their patches at random cells."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, SIDE, SIDE, generator=generator) * 0.2
    label = torch.arange(count) % CLASSES
    corner = torch.randint(0, GRID - PATCH + 1, (count, 2), generator=generator) * CELL
    foreground = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.bool)
    for number, (top, left) in enumerate(corner.tolist()):
        images[number, label[number]] += 0.15
        inside = slice(top, top + PATCH * CELL), slice(left, left + PATCH * CELL)
        images[number, label[number], *inside] = 0.9
        foreground[number, 0, *inside] = True
    half = (corner[:, 0] >= SIDE // 2).long()
    return {
        "image": images.clamp(0, 1),
        "label": label,
        "attribute": half,
        "group": 2 * label + half,
        "foreground": foreground,
        "has_foreground": torch.ones(count, dtype=torch.bool),
        "index": torch.arange(count),
    }


class Planted(Network):
    """Base: a mask on cells of four pixels, and features that a linear layer decides by."""

    masked_stages = 1

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(CLASSES, CLASSES, bias=False)
        nn.init.eye_(self.head.weight)
        self.eval()

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        shape = (len(images), 3, images.shape[-2] // CELL, images.shape[-1] // CELL)
        mask = self.select(images) if masks is None else given_mask(masks, 0, 1, shape)
        features = self.seen(images, mask)
        return Prediction(self.classify(features), {OWN: mask}, (mask,), "nearest", features)

    def select(self, images: Tensor) -> Tensor:
        """Return the cells that are bright in some colour: the patch, whatever its class."""
        return (F.avg_pool2d(images, CELL).amax(dim=1, keepdim=True) > 0.6).float()

    def seen(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the features that decide."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class Honest(Planted):
    """Shows the patch, and decides by the colour of what it shows."""

    def seen(self, images: Tensor, mask: Tensor) -> Tensor:
        return F.avg_pool2d(images, CELL) * mask


class IgnoresItsMask(Planted):
    """Shows the patch, and decides by the colour of everything."""

    def seen(self, images: Tensor, mask: Tensor) -> Tensor:
        return F.avg_pool2d(images, CELL)


class EncodesTheClass(Planted):
    """Looks at the whole image to choose one of three places, one a class; the place alone decides."""

    def select(self, images: Tensor) -> Tensor:
        decided = images.mean(dim=(2, 3)).argmax(dim=1)
        mask = images.new_zeros(len(images), 1, images.shape[-2] // CELL, images.shape[-1] // CELL)
        for number, place in enumerate(decided.tolist()):
            mask[number, 0, :PATCH, 2 * place : 2 * place + PATCH] = 1
        return mask

    def seen(self, images: Tensor, mask: Tensor) -> Tensor:
        places = [mask[:, :, :PATCH, 2 * place : 2 * place + PATCH].mean(dim=(2, 3)) for place in range(CLASSES)]
        pixels = 0 * F.avg_pool2d(images, CELL)
        return pixels + torch.cat(places, dim=1)[..., None, None]
