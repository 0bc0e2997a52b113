"""A classifier whose answers can be worked out by hand, and batches for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskexp.evaluation import Evaluation
from maskexp.evaluation.subsets import select
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction


class Brightest(Network):
    """Says which of the three colours an image has most of: the mean of each channel, through a linear layer."""

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


class Judged:
    """The least that an evaluation may ask of a classifier."""

    def __init__(self, network: Network | None = None) -> None:
        self.network = network or Brightest()

    def __call__(self, images: Tensor) -> Prediction:
        prediction: Prediction = self.network(images)
        return prediction

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        return self(images)


def spec(foreground: str = "segmentation", classes: int = 3) -> DataSpec:
    names = tuple(f"class{i}" for i in range(classes))
    return DataSpec("toy", "custom", names, (), (), (8, 8), (), foreground)  # type: ignore[arg-type]


def batch(images: Tensor, label: list[int], foreground: Tensor | None = None, index: Tensor | None = None) -> Batch:
    """Images with their labels; the foreground is the upper left quarter if not given."""
    count, none = len(images), torch.full((len(images),), -1)
    if foreground is None:
        foreground = torch.zeros(count, 1, *images.shape[-2:], dtype=torch.bool)
        foreground[..., : images.shape[-2] // 2, : images.shape[-1] // 2] = True
    return {
        "image": images,
        "label": torch.tensor(label, dtype=torch.int64),
        "attribute": none,
        "group": none,
        "foreground": foreground,
        "has_foreground": foreground.flatten(1).any(dim=1),
        "index": torch.arange(count) if index is None else index,
    }


def coloured(count: int = 6, size: int = 8) -> tuple[Tensor, list[int]]:
    """Noisy images with the colour of their class in the upper left quarter."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, size, size, generator=generator) * 0.2
    label = [i % 3 for i in range(count)]
    for image, colour in zip(images, label, strict=True):
        image[colour, : size // 2, : size // 2] += 0.7
    return images, label


def judged(evaluation: Evaluation, batches: list[list[int]]) -> dict[str, float]:
    """Prepare an evaluation, count batches of the coloured images by their rows, and return what it says."""
    classifier, whole = Judged(), batch(*coloured())
    evaluation.prepare(spec(), classifier.network)
    for rows in batches:
        part = select(whole, torch.tensor(rows, dtype=torch.int64))
        evaluation.update(classifier, part, classifier(part["image"]))
    return {name: value.item() for name, value in evaluation.compute().items()}
