"""Small networks whose answers can be worked out by hand, classifiers made of them, and batches for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskexp.attribution import add_attributions
from maskexp.evaluation import Evaluation
from maskexp.evaluation.subsets import select
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

CLASSES, SIDE = 3, 8


class ColourMeans(Network):
    """Decides for the colour that an image has most of: the mean of each channel, through a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.head.weight)
        self.eval()

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(logits=self.classify(images), features=images)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class WeightedPixels(Network):
    """Weighs each pixel for each class, by weights drawn from a seed; images ``(B, 3, 8, 8)``."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.head = nn.Linear(3 * SIDE * SIDE, CLASSES)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=generator) / 6)
            self.head.bias.zero_()
        self.eval()

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(self.classify(images), features=images)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.flatten(1))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class MaskedPixels(Network):
    """A mask from the first colour, a predictor that sees what it keeps, and a detector of its own."""

    masked_stages = 1

    def __init__(self) -> None:
        super().__init__()
        self.predictor, self.detector = WeightedPixels(1), WeightedPixels(2)
        self.eval()

    def forward(self, images: Tensor) -> Prediction:
        mask = (8 * (images[:, :1] - 0.5)).sigmoid()
        prediction: Prediction = self.predictor(mask * images + (1 - mask) * 0.5)
        prediction.attributions[OWN], prediction.masks = mask, (mask,)
        return prediction

    def classify(self, features: Tensor) -> Tensor:
        return self.predictor.classify(features)

    @property
    def plain_predictor(self) -> nn.Module:
        return self.predictor

    @property
    def plain_detector(self) -> nn.Module:
        return self.detector

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class Explained:
    """A classifier that is explained as a method is."""

    def __init__(self, network: Network | None = None) -> None:
        self.network: Network = network or MaskedPixels()

    def __call__(self, images: Tensor) -> Prediction:
        prediction: Prediction = self.network(images)
        return prediction

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        prediction = self(images)
        return prediction if prediction.features is None else add_attributions(prediction, self.network, images, target)


def spec(**changes: Any) -> DataSpec:
    """Three classes, no groups, images of 8 × 8 pixels with segmented foregrounds, but for the changes."""
    names = tuple(f"class{i}" for i in range(CLASSES))
    plain = DataSpec("toy", "custom", names, (), (), (SIDE, SIDE), (), "segmentation")
    return DataSpec.from_dict(plain.to_dict() | changes)


def batch(images: Tensor, label: Sequence[int], foreground: Tensor | None = None, **changes: Tensor) -> Batch:
    """Images with their labels; the foreground is the upper left quarter if not given."""
    count, none = len(images), torch.full((len(images),), -1)
    if foreground is None:
        foreground = torch.zeros(count, 1, *images.shape[-2:], dtype=torch.bool)
        foreground[..., : images.shape[-2] // 2, : images.shape[-1] // 2] = True
    made: Batch = {
        "image": images,
        "label": torch.tensor(label, dtype=torch.int64),
        "attribute": none,
        "group": none,
        "foreground": foreground,
        "has_foreground": foreground.flatten(1).any(dim=1),
        "index": torch.arange(count),
    }
    return {**made, **changes}  # type: ignore[typeddict-item]


def coloured(count: int = 6, size: int = 8) -> tuple[Tensor, list[int]]:
    """Noisy images with the colour of their class in the upper left quarter, and their labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, size, size, generator=generator) * 0.2
    label = [i % 3 for i in range(count)]
    for image, colour in zip(images, label, strict=True):
        image[colour, : size // 2, : size // 2] += 0.7
    return images, label


def noisy(count: int = 7) -> Batch:
    """Images of noise with foregrounds of noise, one of them empty and one unknown."""
    generator = torch.Generator().manual_seed(5)
    foreground = torch.rand(count, 1, SIDE, SIDE, generator=generator) < 0.4
    foreground[1] = False
    known = torch.ones(count, dtype=torch.bool)
    known[3] = False
    images = torch.rand(count, 3, SIDE, SIDE, generator=generator)
    return batch(images, [i % CLASSES for i in range(count)], foreground, has_foreground=known)


def named(values: Mapping[Any, Tensor]) -> dict[str, float]:
    """Return numbers by the names under which they are recorded."""
    return {str(key): value.item() for key, value in values.items()}


def count(evaluation: Evaluation, whole: Batch, batches: Sequence[Sequence[int]], classifier: Explained) -> None:
    """Count the images of each batch, by their rows in the whole."""
    for rows in batches:
        part = select(whole, torch.tensor(rows, dtype=torch.int64))
        with torch.inference_mode():
            evaluation.update(classifier, part, classifier.explain(part["image"], part["label"]))


def answers(
    evaluation: Evaluation,
    batches: Sequence[Sequence[int]],
    network: Network | None = None,
    data: DataSpec | None = None,
    whole: Batch | None = None,
) -> dict[str, float]:
    """Prepare an evaluation, count batches of images, by their rows, and return the numbers by their names."""
    classifier = Explained(network)
    evaluation.prepare(data or spec(), classifier.network)
    count(evaluation, noisy() if whole is None else whole, batches, classifier)
    return named(evaluation.compute())


def coloured_answers(
    evaluation: Evaluation, batches: Sequence[Sequence[int]], data: DataSpec | None = None, images: int = 6
) -> dict[str, float]:
    """Return what :func:`answers` does, of :class:`ColourMeans` and coloured images."""
    return answers(evaluation, batches, ColourMeans(), data, batch(*coloured(images)))
