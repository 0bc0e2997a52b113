"""Layer masking: a convolutional network computes as if the hidden region were not there.

Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023. Written from the published formulas and
the measured behaviour of the released code, not from the code.
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from maskexp.masking.inputs.features import MaskedFeatures, NoRuleError, Padding, Propagation, unwrap
from maskexp.masking.inputs.interface import InputMasking, check_evaluation, check_visible
from maskexp.masking.inputs.rules import POINTWISE, RULES


class UnsupportedLayerError(ValueError):
    """A network has a layer that visibility cannot be propagated through; the message names it."""


class LayerMasking(InputMasking):
    """Propagate the visibility mask through a CNN beside its features, layer by layer, without touching weights.

    A convolution sees, in the place of hidden positions, the mean of their visible neighbours
    (:func:`~maskexp.masking.inputs.neighbours.neighbour_padding`), and its output is visible if its window contains a
    visible position. A sum of branches is visible where both are, so that inside a residual network the mask grows in
    the stem only. Global pooling averages over the visible positions. With everything visible the output is bit for bit
    the plain one; with everything hidden it is the bias of the head, where the head is a linear layer behind the global
    pooling. Gradients with respect to hidden pixels are exactly 0, and none flows through a fill.

    There are rules for operations, not for architectures: ResNets of any kind, DenseNet, EfficientNet, MobileNet,
    SqueezeNet, AlexNet, VGG, RegNet and ConvNeXt work, as does any network made of the same operations. Others are
    refused by the name of the layer; vision transformers have :class:`~maskexp.masking.inputs.TokenDropping`.

    What a network returns beside its logits (the ``features`` of a prediction) is 0 where hidden.

    It is no better than a plain colour everywhere: on a ResNet-50 that was trained with erasing and mixing
    augmentations, grey keeps more of the accuracy under random removal of patches (released results).

    Args:
        padding: ``neighbour`` (the method), or ``zero``, its ablation that leaves hidden positions at 0.

    Raises:
        ValueError: if the padding is unknown or a module is in training mode.
        UnsupportedLayerError: if the network does something that has no rule.
    """

    def __init__(self, padding: str = "neighbour") -> None:
        if padding not in ("neighbour", "zero"):
            raise ValueError(f"unknown padding {padding!r}; choose neighbour or zero, or use PartialConvolution")
        self.padding: Padding = "neighbour" if padding == "neighbour" else "zero"

    def __call__(self, network: nn.Module, images: Tensor, visible: Tensor) -> Any:
        """Run the network on what is visible; see :meth:`InputMasking.__call__`."""
        return _propagate(network, images, visible, self.padding)


class PartialConvolution(InputMasking):
    """Propagate the mask as :class:`LayerMasking` does, but rescale each window by its visible fraction.

    With weight W and visible fraction c of a window, the output is ``W (x ⊙ m) / c + b``. What lies beyond the image
    border counts as hidden, so that the network is *not* its plain self even with everything visible.

    Source:
        Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018, as the baseline of
        Balasubramanian & Feizi, ICCV 2023 (released code).
    """

    def __call__(self, network: nn.Module, images: Tensor, visible: Tensor) -> Any:
        """Run the network on what is visible; see :meth:`InputMasking.__call__`."""
        return _propagate(network, images, visible, "partial")


def _propagate(network: nn.Module, images: Tensor, visible: Tensor, padding: Padding) -> Any:
    check_visible(images, visible)
    check_evaluation(network)
    propagation = Propagation(RULES, POINTWISE, padding)
    try:
        return unwrap(network(MaskedFeatures.of_images(images, visible, propagation)))
    except NoRuleError as missing:
        raise UnsupportedLayerError(
            f"a visibility mask cannot pass through {_layer(network, missing.__traceback__)}: there is no rule for "
            f"{missing}; hide the region by a colour such as grey, or by token_dropping in a vision transformer"
        ) from missing


def _layer(network: nn.Module, trace: TracebackType | None) -> str:
    """Name the innermost module of the network in whose forward pass an error was raised."""
    names = {id(module): name for name, module in network.named_modules()}
    calls = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(trace)]
    innermost = next((call for call in reversed(calls) if id(call) in names), network)
    name = f"layer {names[id(innermost)]!r}" if innermost is not network else "the network's own forward"
    return f"{name} ({type(innermost).__name__})"
