"""ResNets of timm and torchvision taken apart into blocks that a mask can act on.

He et al.: "Deep Residual Learning for Image Recognition", CVPR 2016. Bottlenecks and basic blocks, ResNeXt and wide
variants, deep stems and average-pooled shortcuts take one and the same form here; what they compute is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import timm.data
import timm.models
import torchvision.models
from timm.layers.pool2d_same import AvgPool2dSame
from torch import Tensor, nn

from maskexp.masking import PositionMACs, check_sparse, convolved_size, dilate_mask, run_masked
from maskexp.models.backbones import HUB, Normalize, create_timm, read_state_dict

TORCHVISION = "torchvision/"
"""How the names of torchvision's networks begin, e.g. ``torchvision/resnet18``."""

_IMAGENET = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD
_BASIC = ("conv1", "bn1", "drop_block", "act1"), ("conv2", "bn2", "drop_path"), "act2"
_BOTTLENECK = ("conv1", "bn1", "act1"), ("conv2", "bn2", "drop_block", "act2", "conv3", "bn3", "drop_path"), "act3"


class ResidualBlock(nn.Module):
    """A residual block as two parts: ``activation(shortcut(x) + rest(first(x)))``.

    The first part is the first convolution with its norm and activation. The rest begins with a 3×3 convolution and
    ends with the last norm; nothing else in it sees neighbours. So the rest is needed at the positions of a mask, and
    the first part at those of the dilated mask.

    Args:
        block: a basic block or bottleneck of timm or torchvision; its layers are taken over.

    Attributes:
        in_channels: channels of its input.
        stride: of the whole block.
        macs: multiply-accumulates a position of the first part (``dilated``) and of the rest (``mask``).

    Raises:
        ValueError: if the block has layers that no mask can act on.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        layers = {name: layer for name, layer in block.named_children() if not isinstance(layer, nn.Identity)}
        for name in ("se", "aa"):
            if name in layers:
                raise ValueError(
                    f"its residual blocks have a {type(layers[name]).__name__}, on which no mask of positions can act; "
                    "choose a network whose blocks are convolutions, norms and activations alone, such as resnet50"
                )
        if "relu" in layers:  # torchvision's one activation
            layers |= dict.fromkeys(("act1", "act2", "act3"), layers["relu"])
        first, rest, last = _BOTTLENECK if "conv3" in layers else _BASIC
        self.first = nn.Sequential(*(layers[name] for name in first if name in layers))
        self.rest = nn.Sequential(*(layers[name] for name in rest if name in layers))
        self.shortcut = layers.get("downsample", nn.Identity())
        self.activation = layers[last]

        before, after = _convolutions(self.first), _convolutions(self.rest)
        self.in_channels = before[0].in_channels
        self.stride = before[0].stride[0] * after[0].stride[0]
        self.macs = PositionMACs(
            dilated=sum(conv.weight.numel() for conv in before), mask=sum(conv.weight.numel() for conv in after)
        )

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the block's output ``(B, C', h', w')`` for ``(B, C, h, w)``.

        Args:
            features: the input.
            mask: ``(B, 1, h', w')``; where it is 0 the shortcut passes alone. None keeps everything.
        """
        branch = self.rest(self.first(features))
        result: Tensor = self.activation(self.shortcut(features) + (branch if mask is None else branch * mask))
        return result

    def forward_sparse(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the same as :meth:`forward`, computing both parts only where they are needed."""
        branch = run_masked(list(self.first), list(self.rest), features, mask)
        result: Tensor = self.activation(branch.add_to(self.shortcut(features)))
        return result

    def check_sparse(self) -> None:
        """Refuse a block that :meth:`forward_sparse` cannot run.

        Raises:
            ValueError: if one of its layers, other than the convolutions, mixes positions.
        """
        for part in (self.first, self.rest):
            check_sparse(list(part), "a residual block")

    def dilate(self, mask: Tensor, size: Sequence[int]) -> Tensor:
        """Return where the first part is needed.

        Args:
            mask: ``(B, 1, h', w')``.
            size: (height, width) of the block's input.
        """
        return dilate_mask(mask, _convolutions(self.rest)[0], convolved_size(size, _convolutions(self.first)[0]))

    def shortcut_macs(self, size: Sequence[int]) -> int:
        """Return multiply-accumulates of the shortcut for an output of ``size``."""
        return size[0] * size[1] * sum(conv.weight.numel() for conv in _convolutions(self.shortcut))


class ResNet(nn.Module):
    """A ResNet as stem, four stages of :class:`ResidualBlock`, pooling and head.

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
        for conv in _convolutions(self.stem):
            size = convolved_size(size, conv)
            macs += size[0] * size[1] * conv.weight.numel()
        return macs

    def train(self, mode: bool = True) -> ResNet:
        """Switch to training mode; a frozen network stays in evaluation mode."""
        return super().train(mode and not self.frozen)


def without_stride(stage: nn.Sequential, dilation: int, first_dilation: int) -> nn.Sequential:
    """Return a stage that keeps the grid of its input, with dilated convolutions in the place of its stride.

    All weights are shared with ``stage``; batch-norm statistics are a copy. As timm and torchvision build a network of
    a smaller output stride: the first convolution that sees neighbours is one step behind.

    Args:
        stage: blocks of a :class:`ResNet`.
        dilation: of its 3×3 convolutions.
        first_dilation: of the first one, the dilation of the stage before.
    """
    twin = deepcopy(stage)
    for name, module in twin.named_modules():
        for key, parameter in stage.get_submodule(name).named_parameters(recurse=False):
            setattr(module, key, parameter)
    first = cast(ResidualBlock, twin[0])
    spatial = [conv for conv in _convolutions(twin) if conv.kernel_size != (1, 1)]
    early = {id(spatial[0]), *map(id, _convolutions(first.shortcut))}
    for conv in _convolutions(twin):
        conv.stride = (1, 1)
        step = first_dilation if id(conv) in early else dilation
        if conv.kernel_size != (1, 1):
            conv.dilation = (step, step)
            conv.padding = (step * (conv.kernel_size[0] // 2), step * (conv.kernel_size[1] // 2))
    if isinstance(first.shortcut, nn.Sequential) and isinstance(first.shortcut[0], nn.AvgPool2d):
        first.shortcut[0] = AvgPool2dSame(2, stride=1, ceil_mode=True, count_include_pad=False)
    first.stride = 1
    return twin


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]


def _create_torchvision(name: str, num_classes: int, weights: str | None) -> nn.Module:
    """Create a ResNet of torchvision with a head for ``num_classes``.

    Raises:
        ValueError: if there is no such ResNet, or the file does not fit it.
    """
    own = name.removeprefix(TORCHVISION)
    known = [model for model in torchvision.models.list_models(torchvision.models) if "resne" in model]
    if own not in known:
        raise ValueError(f"torchvision has no ResNet called {own!r}; choose one of {', '.join(known)}")
    network: Any = torchvision.models.get_model(own, weights="DEFAULT" if weights == HUB else None)
    if weights is not None and weights != HUB:
        try:
            network.load_state_dict(read_state_dict(weights))
        except RuntimeError as error:
            raise ValueError(f"the weights {weights!r} do not fit the network {name!r}: {error}") from error
    if num_classes != network.fc.out_features:
        network.fc = nn.Linear(network.fc.in_features, num_classes)
    return cast(nn.Module, network)
