"""B-cos networks: convolutions whose output is a dynamic linear function of the image.

Böhle, Fritz, Schiele: "B-cos Networks: Alignment is All We Need for Interpretability", CVPR 2022, in the form of Böhle,
Singh, Fritz, Schiele: "B-cos Alignment for Inherently Interpretable CNNs and Vision Transformers", TPAMI 2024 (v2).
The layers are those of the authors' package ``bcos`` (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import torch
from bcos.modules import BcosConv2d, DetachableModule
from bcos.modules.norms import BatchNormUncentered2d, NoBias
from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from maskexp.models.backbones import HUB, Normalize, create_timm, read_state_dict
from maskexp.models.network import Network
from maskexp.types import Prediction

Encoding = Literal["inverse", "normalized"]

LINEAR = (nn.Identity, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, DropPath)
"""Layers without weights that are linear in evaluation, and stay as they are."""
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish)
"""Activations, which B-cos networks do without: the layers themselves are not linear."""


class BCosNetwork(Network):
    r"""A convolutional network of timm, converted: :math:`y(x) = W(x) x + b` with a matrix that depends on the image.

    Every convolution becomes a B-cos convolution without bias, :math:`|\cos(x, w)|^{B-1} \hat w^T x`, every batch norm
    one that only divides by the deviation, max pooling becomes average pooling, and activations go. The classifier is a
    B-cos 1×1 convolution, averaged over positions, plus the constant :math:`b = -\ln(K - 1)`, by which each class
    begins with the probability 1/K.

    Args:
        backbone: timm's name of the network, or one of our variants.
        num_classes: classes K.
        weights: a state dictionary with the names of the package's networks (for ResNets these are timm's), or None.
        image_size: (height, width) of the images.
        frozen_backbone: train nothing but the classifier.
        encoding: what the first layer sees: six channels, the colours and their ``inverse`` 1 - x (paper), or three
            ``normalized`` ones (COMET's release).
        b: exponent B of the layers (paper: 2).

    Raises:
        ValueError: if ``backbone`` has a layer that cannot be converted, or weights do not fit.
    """

    unexportable = "its map is a gradient of the whole network, which is not written; explain its checkpoint"

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        weights: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        encoding: Encoding,
        b: float,
    ) -> None:
        super().__init__()
        if encoding not in get_args(Encoding):
            raise ValueError(f"encoding is {encoding!r}; choose {' or '.join(get_args(Encoding))}")
        channels = 6 if encoding == "inverse" else 3
        network: Any = create_timm(backbone, None, image_size, num_classes=0, in_chans=channels)
        self.network: Any = network
        width = network.num_features
        if getattr(network, "pre_logits", None) is not None:  # VGG's hidden layers behind the last map
            network.pre_logits, width = nn.Identity(), network.feature_info[-1]["num_chs"]
        self.normalize = Normalize.of(self.network) if encoding == "normalized" else None
        _convert(self.network, backbone, b)
        self.head = _convolution(nn.Conv2d(width, num_classes, kernel_size=1), b)
        self.logit_bias = -math.log(max(num_classes - 1, 1))
        if weights is not None:
            self._load(weights, backbone)
        self.frozen_backbone = frozen_backbone
        if frozen_backbone:
            self.network.requires_grad_(False)
        self.train(self.training)
        if not self.head.linear.weight.is_meta:
            self._require_linear(backbone, image_size)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1]; what explains a class is in :meth:`contributions`."""
        features = self.network.forward_features(self.encode(images))
        return Prediction(logits=self.classify(features), features=features)

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the last spatial map."""
        logits: Tensor = self.head(features).mean(dim=(2, 3)) + self.logit_bias
        return logits

    def encode(self, images: Tensor) -> Tensor:
        """Return what the first layer sees of images in [0, 1], ``(B, 6, H, W)`` or ``(B, 3, H, W)``."""
        if self.normalize is not None:
            return cast(Tensor, self.normalize(images))
        if not images.is_floating_point():
            raise ValueError(f"the images are {images.dtype}; networks take floats in [0, 1], so divide pixels by 255")
        return torch.cat([images, 1 - images], dim=1).to(self.head.linear.weight.dtype)

    def contributions(self, images: Tensor, target: Tensor) -> Tensor:
        r"""Return what each pixel contributes to the logit of a class, :math:`\sum_c W(x)_{y,c} x_c`, signed.

        In evaluation mode the contributions of all pixels add up to the logit without its constant.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` int64 class.

        Returns:
            ``(B, 1, H, W)``.
        """
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device_type=images.device.type, enabled=False),
            self._dynamic_weights_fixed(),
        ):
            seen = self.encode(images.clone()).detach().requires_grad_(True)
            logits = self.head(self.network.forward_features(seen)).mean(dim=(2, 3))
            (row,) = torch.autograd.grad(logits.gather(1, target.clone()[:, None]).sum(), seen)
            return (row * seen.detach()).sum(dim=1, keepdim=True)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return all parameters but those of the classifier."""
        return list(self.network.parameters())

    def train(self, mode: bool = True) -> BCosNetwork:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen_backbone:
            self.network.eval()
        return self

    @contextmanager
    def _dynamic_weights_fixed(self) -> Iterator[None]:
        """Differentiate x → W(x) x as if W did not depend on x."""
        layers = [module for module in self.modules() if isinstance(module, DetachableModule)]
        try:
            for layer in layers:
                layer.set_explanation_mode(True)
            yield
        finally:
            for layer in layers:
                layer.set_explanation_mode(False)

    def _load(self, path: str, backbone: str) -> None:
        """Load the backbone's weights, and the classifier's where they are for as many classes."""
        if path == HUB:
            raise ValueError(
                "timm's hub has no B-cos networks: give weights: null, or a file with a state dictionary of one"
            )
        state = read_state_dict(path, backbone)
        head = state.get("fc.linear.weight")
        body = {name: value for name, value in state.items() if not name.startswith("fc.")}
        own = self.network.state_dict()
        wrong = sorted(
            (own.keys() ^ body.keys())
            | {name for name in own.keys() & body.keys() if own[name].shape != body[name].shape}
        )
        if wrong:
            raise ValueError(f"{path} does not hold the weights of this B-cos network: {wrong[0]!r} does not fit")
        self.network.load_state_dict(body)
        if head is not None and head.shape == self.head.linear.weight.shape:
            self.head.linear.weight.data.copy_(head)

    def _require_linear(self, backbone: str, image_size: tuple[int, int]) -> None:
        """Refuse a network that does more in its forward pass than its layers say, such as a nonlinearity.

        Raises:
            ValueError: if contributions do not add up to the logit.
        """
        side = min(*image_size, 64)
        image = torch.linspace(0, 1, 3 * side * side).view(1, 3, side, side)
        modes = {module: module.training for module in self.modules()}
        self.eval()
        found = self.contributions(image, torch.zeros(1, dtype=torch.int64))
        with torch.no_grad():
            logit = self.head(self.network.forward_features(self.encode(image))).mean(dim=(2, 3))[0, 0]
        for module, mode in modes.items():
            module.training = mode
        if abs(float(found.sum() - logit)) > 0.01 * float(found.abs().sum()):
            raise ValueError(
                f"B-cos cannot convert {backbone!r}: its forward pass is not linear beside its layers; choose a "
                "convolutional network of plain layers, e.g. resnet18"
            )


def _convert(network: nn.Module, name: str, b: float) -> None:
    """Replace the layers of a network by those of a B-cos network.

    Raises:
        ValueError: if there is a layer that has no counterpart.
    """
    for path, child in list(network.named_children()):
        replaced = _counterpart(child, b)
        if replaced is not None:
            setattr(network, path, replaced)
        elif not list(child.children()):
            if next(child.parameters(recurse=False), None) is None and isinstance(child, LINEAR):
                continue
            if isinstance(child, (nn.Sequential, nn.ModuleList)):  # empty
                continue
            raise ValueError(
                f"B-cos cannot convert {name!r}, which has a layer {type(child).__name__}; choose a convolutional "
                "network of plain convolutions, batch norms and poolings, e.g. resnet18"
            )
        else:
            _convert(child, name, b)
    own = [key for key, _ in network.named_parameters(recurse=False)]
    if own and not isinstance(network, DetachableModule):
        raise ValueError(
            f"B-cos cannot convert {name!r}, whose {type(network).__name__} has a weight {own[0]!r} of its own; choose "
            "a convolutional network of plain convolutions, batch norms and poolings, e.g. resnet18"
        )


def _counterpart(layer: nn.Module, b: float) -> nn.Module | None:
    """Return the B-cos layer that takes the place of a layer, or None if it stays or cannot be replaced."""
    if type(layer) is nn.Conv2d:
        return None if layer.dilation != (1, 1) or layer.padding_mode != "zeros" else _convolution(layer, b)
    if type(layer) in (nn.BatchNorm2d, BatchNormAct2d):
        norm = cast(nn.BatchNorm2d, layer)
        return cast(nn.Module, NoBias(BatchNormUncentered2d)(norm.num_features, eps=norm.eps, momentum=norm.momentum))
    if type(layer) is nn.MaxPool2d:
        return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    return nn.Identity() if isinstance(layer, ACTIVATIONS) else None


def _convolution(layer: nn.Conv2d, b: float) -> Any:
    """Return a B-cos convolution of the geometry of a plain one, with the package's first weights."""
    made = BcosConv2d(
        layer.in_channels,
        layer.out_channels,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
        b=b,
        dilation=1,
    )
    nn.init.kaiming_normal_(made.linear.weight, mode="fan_out", nonlinearity="relu")
    return made
