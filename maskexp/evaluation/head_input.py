"""The features that a classifier decides from, under any way of hiding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from maskexp.masking.inputs import InputMasking
from maskexp.types import Prediction

__all__ = ["find_head", "head_input"]


class Call(NamedTuple):
    """What went through a layer."""

    layer: nn.Module
    input: Tensor
    output: Tensor


def find_head(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the linear layer that gives the logits.

    Args:
        network: any classifier in evaluation mode that returns a :class:`~maskexp.types.Prediction`.
        images: ``(B, 3, H, W)``, on which the layer is looked for.

    Raises:
        ValueError: if no linear layer gives the logits.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    prediction, calls = _watched(linear, lambda: network(images))
    for call in calls:
        if call.output is prediction.logits:
            return call.layer
    raise ValueError(
        f"no linear layer of {type(network).__name__} gives its logits, so that there are no features before it"
    )


def head_input(network: nn.Module, head: nn.Module, hiding: InputMasking, images: Tensor, visible: Tensor) -> Tensor:
    """Return what the head sees of images of which a part is hidden, ``(B, C)``.

    Args:
        network: the classifier, in evaluation mode.
        head: what :func:`find_head` has found in it.
        hiding: the way of hiding.
        images: ``(B, 3, H, W)``.
        visible: ``(B, 1, H, W)`` bool.

    Raises:
        ValueError: if the images run through the network one by one.
    """
    _, calls = _watched([head], lambda: hiding(network, images, visible))
    if len(calls) != 1:
        raise ValueError(
            "features cannot be followed through images that run apart; choose sizes that are multiples of a patch"
        )
    return calls[0].input


def _watched(layers: Sequence[nn.Module], run: Callable[[], Prediction]) -> tuple[Prediction, list[Call]]:
    calls: list[Call] = []
    hooks = [layer.register_forward_hook(lambda m, x, y: calls.append(Call(m, x[0], y))) for layer in layers]
    try:
        return run(), calls
    finally:
        for hook in hooks:
            hook.remove()
