"""ResNets of timm and torchvision taken apart into blocks that a mask can act on.

He et al.: "Deep Residual Learning for Image Recognition", CVPR 2016; ResNeXt, wide variants, deep stems and
average-pooled shortcuts included. What they compute is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import timm.data
import timm.models
import torchvision.models
from torch import Tensor, nn

from maskexp.masking import convolved_size
from maskexp.models.backbones import HUB, Normalize, create_timm, read_state_dict
from maskexp.models.residual_blocks import ResidualBlock, convolutions

TORCHVISION = "torchvision/"
"""How the names of torchvision's networks begin, e.g. ``torchvision/resnet18``."""

_IMAGENET = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD


class ResNet(nn.Module):
    """A ResNet as stem, four stages of :class:`~maskexp.models.residual_blocks.ResidualBlock`, pooling and head.

    Args:
        name: timm's name of a ResNet, one of our variants (``resnet50_v1``), or torchvision's behind ``torchvision/``.
        num_classes: classes K; the head is new unless the weights have one for as many classes.
        weights: ``timm`` for the default weights of the library's hub, a file, or None.
        image_size: (height, width) of the images.
        frozen: keep weights and batch-norm statistics of everything but the head.

    Raises:
        ValueError: if the network is no ResNet, or has blocks that no mask can act on.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen: bool = False,
    ) -> None:
        super().__init__()
        network: Any
        if name.startswith(TORCHVISION):
            network = _create_torchvision(name, num_classes, weights)
            self.normalize = Normalize(*_IMAGENET)
            pool, activation = nn.Sequential(network.avgpool, nn.Flatten(1)), network.relu
        else:
            network = create_timm(name, weights, image_size, num_classes=num_classes)
            if not isinstance(network, timm.models.ResNet):
                raise ValueError(
                    f"{name!r} is no ResNet of residual blocks that a mask can act on; choose one of timm, such as "
                    "resnet50, or of torchvision, such as torchvision/resnet50"
                )
            self.normalize = Normalize.of(network)
            pool, activation = network.global_pool, network.act1
        self.stem = nn.Sequential(network.conv1, network.bn1, activation, network.maxpool)
        try:
            self.stages = nn.ModuleList(
                nn.Sequential(*map(ResidualBlock, stage))
                for stage in (network.layer1, network.layer2, network.layer3, network.layer4)
            )
        except ValueError as error:
            raise ValueError(f"{name!r} cannot be masked: {error}") from error
        self.pool, self.head = pool, cast(nn.Linear, network.fc)
        self.frozen = frozen
        if frozen:
            for parameter in self.backbone_parameters():
                parameter.requires_grad_(False)
        self.train(self.training)

    @property
    def blocks(self) -> list[ResidualBlock]:
        """All residual blocks, shallow to deep."""
        return [cast(ResidualBlock, block) for stage in self.stages for block in cast(nn.Sequential, stage)]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1], as the network that it was made from."""
        features = self.begin(images)
        for block in self.blocks:
            features = block(features)
        return self.classify(features)

    def begin(self, images: Tensor) -> Tensor:
        """Return the first block's input for images ``(B, 3, H, W)`` in [0, 1]."""
        features: Tensor = self.stem(self.normalize(images))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the last block's output."""
        logits: Tensor = self.head(self.pool(features))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all but the head."""
        return [*self.stem.parameters(), *self.stages.parameters()]

    def fixed_macs(self, size: Sequence[int]) -> int:
        """Return multiply-accumulates of stem and head, which no mask reaches, for an image of ``size``."""
        macs = self.head.weight.numel()
        for conv in convolutions(self.stem):
            size = convolved_size(size, conv)
            macs += size[0] * size[1] * conv.weight.numel()
        return macs

    def train(self, mode: bool = True) -> ResNet:
        """Switch to training mode; a frozen network stays in evaluation mode."""
        return super().train(mode and not self.frozen)


def _create_torchvision(name: str, num_classes: int, weights: str | None) -> nn.Module:
    """Create a ResNet of torchvision with a head for ``num_classes``.

    Raises:
        ValueError: if there is no such ResNet, or the file does not fit it.
    """
    own = name.removeprefix(TORCHVISION)
    known = [model for model in torchvision.models.list_models(torchvision.models) if "resne" in model]
    if own not in known:
        raise ValueError(f"torchvision has no ResNet called {own!r}; choose one of {', '.join(known)}")
    network: Any
    if weights is None or weights == HUB:
        network = torchvision.models.get_model(own, weights="DEFAULT" if weights == HUB else None)
    else:
        state = read_state_dict(weights, name)
        head = {"num_classes": len(state["fc.weight"])} if "fc.weight" in state else {}
        network = torchvision.models.get_model(own, weights=None, **head)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"the weights {weights!r} do not fit the network {name!r}: {error}") from error
    if num_classes != network.fc.out_features:
        network.fc = nn.Linear(network.fc.in_features, num_classes)
    return cast(nn.Module, network)
