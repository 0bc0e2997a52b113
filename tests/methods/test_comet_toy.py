"""A toy problem (ours): accuracy is 1.0 whatever the selector does; only the maps tell.

A coloured square on a noisy background, the class is the colour. With the detector the mask is the square; without the
detector's part of the objective (a = 0) the selector has no reason to keep all of it, or to keep only it.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.methods import COMET
from maskexp.metrics import PixelAveragePrecision
from maskexp.models import COMETNetwork
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

SPEC = DataSpec("squares", "toy", ("red", "green", "blue", "yellow"), (), (), (48, 48), (), "segmentation")
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1]])
SIDE, STEPS, BATCH = 48, 400, 64


def squares(size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return images (N, 3, 48, 48), labels (N,) and foregrounds (N, 1, 48, 48)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(size, 3, 8, 8, generator=generator)
    images = 0.5 + 0.15 * F.interpolate(coarse, (SIDE, SIDE), mode="bilinear", align_corners=False)
    label = torch.randint(0, 4, (size,), generator=generator)
    side = torch.randint(12, 17, (size,), generator=generator)
    corner = (torch.rand(size, 2, generator=generator) * (SIDE + 1 - side)[:, None]).long()
    axis = torch.arange(SIDE)
    rows = (axis >= corner[:, :1]) & (axis < corner[:, :1] + side[:, None])
    columns = (axis >= corner[:, 1:]) & (axis < corner[:, 1:] + side[:, None])
    foreground = (rows[:, :, None] & columns[:, None, :])[:, None]
    images = torch.where(foreground, COLOURS[label][:, :, None, None], images)
    images = images + 0.05 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1), label, foreground


def block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.BatchNorm2d(outside), nn.ReLU())


class ToyClassifier(Network):
    """Three strided convolutions, pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 64, 2))
        self.head = nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Prediction:
        features = self.stages((images - 0.5) / 0.2)
        return Prediction(self.classify(features), features=features)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


class ToySelector(nn.Module):
    """Two strided convolutions, one more, and a logit for each cell of 4 × 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 32, 1), nn.Conv2d(32, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.stages((images - 0.5) / 0.2)
        return logits


@functools.cache
def data() -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    return squares(2048, 0), squares(256, 1)


@functools.cache
def trained_detector() -> dict[str, Tensor]:
    """Return the weights of a classifier of whole images after four epochs."""
    torch.manual_seed(0)
    detector, (images, label, _) = ToyClassifier(), data()[0]
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(detector(images[rows]).logits, label[rows]).backward()
            optimizer.step()
    detector.eval()
    images, label, _ = data()[1]
    assert (detector(images).logits.argmax(1) == label).float().mean() == 1
    return detector.state_dict()


def train(steps: int = STEPS, hiding: str = "#808080", **arguments: Any) -> dict[str, float]:
    """Train COMET on the squares and return accuracy, pooled average precision in percent, and the mask's area."""
    detector = trained_detector()
    torch.manual_seed(0)
    method = COMET(backbone="small_convnet", selector="small_convnet", selector_stride=4, hiding=hiding, **arguments)
    method.build(SPEC)
    network = method.network
    assert isinstance(network, COMETNetwork)
    network.selector, network.predictor, network.detector = (  # type: ignore[assignment]
        ToySelector(),
        ToyClassifier(),
        ToyClassifier(),
    )
    network.detector.requires_grad_(False)
    for part in network.begin_pretrained:
        part.load_state_dict(detector)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=5e-4, weight_decay=0.03)
    images, label, _ = data()[0]
    order = torch.cat([torch.randperm(len(images)) for _ in range(steps * BATCH // len(images) + 1)])
    network.train()
    for rows in order.split(BATCH)[:steps]:
        batch: Batch = {"image": images[rows], "label": label[rows]}  # type: ignore[typeddict-item]
        optimizer.zero_grad()
        torch.stack(list(method.objective(network(batch["image"]), batch).values())).sum().backward()
        optimizer.step()
    return measure(network.eval())


@torch.no_grad()
def measure(network: COMETNetwork) -> dict[str, float]:
    images, label, foreground = data()[1]
    prediction = network(images)
    (mask,) = prediction.masks
    precision = PixelAveragePrecision()
    precision.update(mask, foreground)
    accuracy = (prediction.logits.argmax(1) == label).float().mean()
    return {"acc": float(accuracy), "ap": 100 * float(precision.compute()), "area": float(mask.mean())}


@pytest.mark.slow
def test_the_detector_makes_the_mask_the_square_and_accuracy_does_not_tell() -> None:
    with_detector, without = train(detector_weight=5.0), train(detector_weight=0.0)
    assert with_detector["acc"] > 0.98
    assert without["acc"] > 0.98
    assert with_detector["ap"] - without["ap"] > 30
    assert with_detector["ap"] > 90
    assert with_detector["area"] < 0.15


@pytest.mark.slow
def test_a_selector_learns_under_layer_masking() -> None:
    found = train(steps=100, hiding="layer")
    assert found["acc"] > 0.98
    assert found["ap"] > 60
    assert found["area"] < 0.15
