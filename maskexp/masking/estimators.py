"""Networks that look at features and say where the mask should be active.

Their logits are float32 at least, whatever the precision of the run: bf16 has some three decimal digits, and a mask is
decided by a logit's sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with an identity shortcut, ``(B, C, h, w) -> (B, C, h, w)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm(channels, channels)
        self.conv2 = _conv_norm(channels, channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``relu(features + branch(features))``."""
        branch = self.conv2(self.activation(self.conv1(features)))
        result: Tensor = self.activation(features + branch)
        return result


class AIMEstimator(nn.Module):
    """AIM's mask estimator: 3×3 convolution, residual blocks, a global branch, 1×1 convolution.

    The parts are AIM's as a summary of the paper lists them; hidden width, norm, block form and how the pooled
    vector returns are not published and inferred: batch norm, basic blocks, and the pooled vector added to every
    position (as the squeeze unit of Verelst & Tuytelaars, CVPR 2020, adds a global logit to a local one).

    Args:
        in_channels: channels C of the features it reads.
        width: hidden channels.
        blocks: number of residual blocks.
        global_branch: whether the pooled vector is added.
        logit_channels: 1 or 2, as the binariser asks.
        initial_bias: bias of the last layer towards *active*, so that no mask is dead at the first step; 2.0 makes
            88 % of the positions active on average.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        blocks: int = 3,
        global_branch: bool = True,
        logit_channels: int = 1,
        initial_bias: float = 2.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv_norm(in_channels, width), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.global_branch = nn.Conv2d(width, width, kernel_size=1) if global_branch else None
        self.logits = nn.Conv2d(width, logit_channels, kernel_size=1)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]
        self.logits.bias.data[-1] = initial_bias  # type: ignore[union-attr]

    def forward(self, features: Tensor) -> Tensor:
        """Return mask logits ``(B, logit_channels, h, w)`` for features ``(B, C, h, w)``."""
        hidden = self.blocks(self.stem(features))
        if self.global_branch is not None:
            hidden = hidden + _in_float32(self.global_branch, _mean(hidden)[:, :, None, None])
        return _in_float32(self.logits, hidden)


def stage_estimators(
    channels: Sequence[int],
    reduction: int,
    blocks: int,
    global_branch: bool,
    logit_channels: int,
    initial_bias: float,
) -> nn.ModuleList:
    """Return an :class:`AIMEstimator` for each of several stages.

    Args:
        channels: channels of the features of each stage.
        reduction: hidden width of an estimator is its channels divided by this, at least 8.
        blocks: see :class:`AIMEstimator`, as the arguments that follow.
        global_branch: whether the pooled vector is added.
        logit_channels: 1 or 2, as the binariser asks.
        initial_bias: bias of the last layer towards *active*.

    Raises:
        ValueError: if ``reduction`` is less than 1, ``blocks`` less than 0, or ``initial_bias`` no number.
    """
    if reduction < 1:
        raise ValueError(f"estimator_reduction is {reduction}; the channels are divided by it, so give at least 1")
    if blocks < 0:
        raise ValueError(f"estimator_blocks is {blocks}; give at least 0, which leaves the residual blocks out")
    if not math.isfinite(initial_bias):
        raise ValueError(f"initial_bias is {initial_bias}; it must be a finite number, such as 2.0")
    return nn.ModuleList(
        AIMEstimator(count, max(count // reduction, 8), blocks, global_branch, logit_channels, initial_bias)
        for count in channels
    )


class DynConvEstimator(nn.Module):
    """The mask unit of a residual block: a 3×3 convolution and a global logit, added.

    Verelst & Tuytelaars: "Dynamic Convolutions", CVPR 2020 (released code for classification).

    Args:
        in_channels: channels C of the block's input.
        stride: of the block; the mask lies on its outputs.
    """

    def __init__(self, in_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.local = nn.Conv2d(in_channels, 1, kernel_size=3, stride=stride, padding=1)
        self.pooled = nn.Linear(in_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return mask logits ``(B, 1, h / stride, w / stride)`` for features ``(B, C, h, w)``."""
        # The convolution keeps the run's precision: in float32 every block's input would be stored a second time.
        local: Tensor = self.local(features)
        return local + _in_float32(self.pooled, _mean(features))[:, :, None, None]


class CADEstimator(nn.Sequential):
    """The mask estimator of content-adaptive downsampling, ``(B, C, h, w) -> (B, 2, h / 2, w / 2)``.

    Hesse, Schaub-Meyer, Roth: "Content-Adaptive Downsampling in Convolutional Neural Networks", CVPR workshops 2023
    (released code). The second channel is the logit of *downsampled*.

    Args:
        in_channels: channels C of the features it reads (released code: 512).
        widths: channels of its three hidden layers (released code: 128, 64, 64).
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int] = (128, 64, 64)) -> None:
        first, second, third = widths
        super().__init__(
            nn.Conv2d(in_channels, first, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, ceil_mode=True),  # a grid of odd size, too, has a low-resolution cell for each position
            nn.Conv2d(second, third, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(third, 2, kernel_size=3, padding=1),
        )
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Return mask logits ``(B, 2, h / 2, w / 2)`` for features ``(B, C, h, w)``."""
        *hidden, last = self
        for layer in hidden:
            features = layer(features)
        return _in_float32(last, features)


def _in_float32(layer: nn.Module, features: Tensor) -> Tensor:
    """Run a layer in float32, or in float64 if its features are, whatever the type of its weights."""
    wide = torch.promote_types(features.dtype, torch.float32)
    weights = {name: parameter.to(wide) for name, parameter in layer.named_parameters()}
    with torch.autocast(device_type=features.device.type, enabled=False):
        result: Tensor = functional_call(layer, weights, features.to(wide))
    return result


def _mean(features: Tensor) -> Tensor:
    """Average ``(B, C, h, w)`` over positions, ``(B, C)`` in float32, or in float64 if the features are."""
    return features.mean(dim=(2, 3), dtype=torch.promote_types(features.dtype, torch.float32))


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3×3 convolution that keeps the grid, and its norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(out_channels)
    )
