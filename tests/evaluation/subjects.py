"""A network of two parts, of which one chooses what the other sees, and data for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maskexp.attribution import grad_cam
from maskexp.evaluation import Evaluation
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

CLASSES, SIDE = 3, 8


class Reader(Network):
    """Weighs the pixels of an image for each class; images ``(B, 3, 8, 8)``."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.head = nn.Linear(3 * SIDE * SIDE, CLASSES)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=generator) / 6)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(self.classify(images), features=images)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.flatten(1))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class TwoParts(Network):
    """A mask from the first colour, and a predictor that sees what it keeps; and a detector of its own."""

    masked_stages = 1

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.finder = Reader(1), Reader(2)
        self.eval()

    def forward(self, images: Tensor) -> Prediction:
        mask = (8 * (images[:, :1] - 0.5)).sigmoid()
        prediction: Prediction = self.reader(mask * images + (1 - mask) * 0.5)
        prediction.attribution, prediction.masks = mask, (mask,)
        return prediction

    def classify(self, features: Tensor) -> Tensor:
        return self.reader.classify(features)

    @property
    def plain_predictor(self) -> nn.Module:
        return self.reader

    @property
    def plain_detector(self) -> nn.Module:
        return self.finder

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class Explained:
    """A classifier that is explained as a method is."""

    def __init__(self, network: Network | None = None) -> None:
        self.network: Network = network or TwoParts()

    def __call__(self, images: Tensor) -> Prediction:
        prediction: Prediction = self.network(images)
        return prediction

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        prediction = self(images)
        assert prediction.features is not None
        target = prediction.logits.argmax(dim=1) if target is None else target
        prediction.extras["grad_cam"] = grad_cam(self.network, prediction.features, target)
        if prediction.attribution is None:
            prediction.attribution = prediction.extras["grad_cam"]
        return prediction


def spec(**changes: Any) -> DataSpec:
    names = tuple(f"class{i}" for i in range(CLASSES))
    plain = DataSpec("toy", "custom", names, (), (), (SIDE, SIDE), (), "segmentation")
    return DataSpec.from_dict(plain.to_dict() | changes)


def images(count: int = 7) -> Batch:
    """Images with foregrounds, one of them empty and one unknown."""
    generator = torch.Generator().manual_seed(5)
    foreground = torch.rand(count, 1, SIDE, SIDE, generator=generator) < 0.4
    foreground[1] = False
    known = torch.ones(count, dtype=torch.bool)
    known[3] = False
    nowhere = torch.full((count,), -1)
    return {
        "image": torch.rand(count, 3, SIDE, SIDE, generator=generator),
        "label": torch.arange(count) % CLASSES,
        "attribute": nowhere,
        "group": nowhere,
        "foreground": foreground,
        "has_foreground": known,
        "index": torch.arange(count),
    }


def part_of(batch: Batch, rows: list[int]) -> Batch:
    return {name: values[rows] for name, values in batch.items()}  # type: ignore[index, return-value]


def answers(
    evaluation: Evaluation, batches: list[list[int]], network: Network | None = None, data: DataSpec | None = None
) -> dict[str, float]:
    """Prepare an evaluation, count the images of each batch, and return what it says."""
    classifier = Explained(network)
    evaluation.prepare(data or spec(), classifier.network)
    count(evaluation, batches, classifier)
    return {name: value.item() for name, value in evaluation.compute().items()}


def count(evaluation: Evaluation, batches: list[list[int]], classifier: Explained) -> None:
    for rows in batches:
        batch = part_of(images(), rows)
        with torch.inference_mode():
            evaluation.update(classifier, batch, classifier.explain(batch["image"], batch["label"]))
