"""The features that a classifier decides from, under any way of hiding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from maskexp.masking.inputs import InputMasking
from maskexp.metrics.functional.inputs import check_finite
from maskexp.types import Prediction

__all__ = ["PenultimateFeatures"]


class PenultimateFeatures:
    """Reads the input of the linear layer that gives the logits; the first image says which one that is.

    Args:
        network: any classifier that returns a :class:`~maskexp.types.Prediction`, in evaluation mode when it is called.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.head: nn.Module | None = None

    def __call__(self, hiding: InputMasking, images: Tensor, visible: Tensor) -> Tensor:
        """Return what the head sees of images of which a part is hidden, ``(B, C)``.

        Args:
            hiding: the way of hiding.
            images: ``(B, 3, H, W)``, at least one.
            visible: ``(B, 1, H, W)`` bool.

        Raises:
            ValueError: if no linear layer gives the logits, the images run through the network one by one, or a feature
                is not finite.
        """
        if self.head is None:
            self.head = _find_head(self.network, images[:1])
        _, calls = _watched([self.head], lambda: hiding(self.network, images, visible))
        if len(calls) != 1:
            raise ValueError(
                "features cannot be followed through images that run apart; choose sizes that are multiples of a patch"
            )
        check_finite(calls[0].input, "the input of the network's head")
        return calls[0].input


class _Call(NamedTuple):
    layer: nn.Module
    input: Tensor
    output: Tensor


def _find_head(network: nn.Module, images: Tensor) -> nn.Module:
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    prediction, calls = _watched(linear, lambda: network(images))
    for call in calls:
        if call.output is prediction.logits:
            return call.layer
    raise ValueError(
        f"no linear layer of {type(network).__name__} gives its logits, so that there are no features before it"
    )


def _watched(layers: Sequence[nn.Module], run: Callable[[], Prediction]) -> tuple[Prediction, list[_Call]]:
    calls: list[_Call] = []
    hooks = [layer.register_forward_hook(lambda m, x, y: calls.append(_Call(m, x[0], y))) for layer in layers]
    try:
        return run(), calls
    finally:
        for hook in hooks:
            hook.remove()
