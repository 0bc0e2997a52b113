"""Residual blocks that a mask can act on: dense, sparse, and without their stride.

He et al.: "Deep Residual Learning for Image Recognition", CVPR 2016. Basic blocks and bottlenecks of timm and
torchvision take one and the same form here; what they compute is unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import cast

from timm.layers.pool2d_same import AvgPool2dSame
from torch import Tensor, nn

from maskexp.masking import PositionMACs, check_sparse, convolved_size, dilate_mask, run_masked

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
        first, rest, last = _BOTTLENECK if "conv3" in layers else _BASIC
        _check_layers(layers, {*first, *rest, last, "downsample", "relu"})
        if "relu" in layers:  # torchvision's one activation
            layers |= dict.fromkeys(("act1", "act2", "act3"), layers["relu"])
        self.first = nn.Sequential(*(layers[name] for name in first if name in layers))
        self.rest = nn.Sequential(*(layers[name] for name in rest if name in layers))
        self.shortcut = layers.get("downsample", nn.Identity())
        self.activation = layers[last]

        before, after = convolutions(self.first), convolutions(self.rest)
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
        if mask is not None:
            branch = branch * mask.to(branch.dtype)  # masks are float32 whatever the features are
        result: Tensor = self.activation(self.shortcut(features) + branch)
        return result

    def forward_sparse(self, features: Tensor, mask: Tensor, dilated: Tensor) -> Tensor:
        """Return the same as :meth:`forward`, computing both parts only where they are needed.

        Args:
            features: the input.
            mask: ``(B, 1, h', w')``.
            dilated: where the first part is needed, see :meth:`dilate`.
        """
        branch = run_masked(list(self.first), list(self.rest), features, mask, dilated)
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
        return dilate_mask(mask, convolutions(self.rest)[0], convolved_size(size, convolutions(self.first)[0]))

    def convolved_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Return (height, width) of the output for an input of (height, width) ``size``."""
        return convolved_size(convolved_size(size, convolutions(self.first)[0]), convolutions(self.rest)[0])

    def shortcut_macs(self, size: Sequence[int]) -> int:
        """Return multiply-accumulates of the shortcut for an output of ``size``."""
        return size[0] * size[1] * sum(conv.weight.numel() for conv in convolutions(self.shortcut))


def without_stride(stage: nn.Sequential, dilation: int, first_dilation: int) -> nn.Sequential:
    """Return a stage that keeps the grid of its input, with dilated convolutions in the place of its stride.

    All weights are shared with ``stage``; batch-norm statistics are a copy. As timm and torchvision build a network of
    a smaller output stride: the first convolution that sees neighbours is one step behind.

    Args:
        stage: blocks of a :class:`~maskexp.models.resnets.ResNet`.
        dilation: of its 3×3 convolutions.
        first_dilation: of the first one, the dilation of the stage before.
    """
    twin = deepcopy(stage)
    for name, module in twin.named_modules():
        for key, parameter in stage.get_submodule(name).named_parameters(recurse=False):
            setattr(module, key, parameter)
    first = cast(ResidualBlock, twin[0])
    spatial = [conv for conv in convolutions(twin) if conv.kernel_size != (1, 1)]
    early = {id(spatial[0]), *map(id, convolutions(first.shortcut))}
    for conv in convolutions(twin):
        conv.stride = (1, 1)
        step = first_dilation if id(conv) in early else dilation
        if conv.kernel_size != (1, 1):
            conv.dilation = (step, step)
            conv.padding = (step * (conv.kernel_size[0] // 2), step * (conv.kernel_size[1] // 2))
    if isinstance(first.shortcut, nn.Sequential) and isinstance(first.shortcut[0], nn.AvgPool2d):
        first.shortcut[0] = AvgPool2dSame(2, stride=1, ceil_mode=True, count_include_pad=False)
    first.stride = 1
    return twin


def _check_layers(layers: Mapping[str, nn.Module], known: Collection[str]) -> None:
    """Refuse layers that would be dropped, or taken for a convolution that they are not.

    Args:
        layers: of the block, by name.
        known: names of the layers that the two parts, the shortcut and the activation are made of.

    Raises:
        ValueError: if another layer is among them, or one that is called a convolution is more than that.
    """
    for name, layer in layers.items():
        if name not in known or (name.startswith("conv") and type(layer) is not nn.Conv2d):
            raise ValueError(
                f"its residual blocks have a {type(layer).__name__} ({name}), on which no mask of positions can act; "
                "choose a network whose blocks are convolutions, norms and activations alone, such as resnet50"
            )


def convolutions(part: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a part of a network, in their order."""
    return [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]
