"""What every way of hiding a region from a network has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class InputMasking(ABC):
    """A way of hiding a region of an image from a network: ``(network, images, visible) -> output``.

    What is said once for all of them: what lies under the hidden pixels does not matter, unless the class says
    otherwise. The pixels may even be NaN.
    """

    @abstractmethod
    def __call__(self, network: nn.Module, images: Tensor, visible: Tensor) -> Any:
        """Run the network on what is visible.

        Args:
            network: any classifier.
            images: ``(B, C, H, W)`` float in the range that the network takes, which is [0, 1] for ours.
            visible: ``(B, 1, H, W)`` bool, True = keep.

        Returns:
            What the network returns.

        Raises:
            TypeError: if ``visible`` is not bool.
            ValueError: if ``visible`` does not fit the images.
        """


def check_visible(images: Tensor, visible: Tensor) -> None:
    """Refuse images and masks that are no batch, or that do not fit each other."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images are {tuple(images.shape)} of {images.dtype}; give a batch (B, C, H, W) of floating point"
        )
    if visible.dtype != torch.bool:
        raise TypeError(
            f"visible is of {visible.dtype}; a region is either hidden or not: give a bool mask, e.g. mask > 0.5"
        )
    expected = (images.shape[0], 1, *images.shape[-2:])
    if visible.shape != expected:
        raise ValueError(
            f"visible is {tuple(visible.shape)}, but images {tuple(images.shape)} need one channel on the same grid, "
            f"{expected}"
        )
    if visible.device != images.device:
        raise ValueError(f"visible is on {visible.device}, but the images are on {images.device}; move one of them")


def check_evaluation(network: nn.Module) -> None:
    """Refuse a network with a module in training mode: its batch statistics would count the hidden positions."""
    for name, module in network.named_modules():
        if module.training:
            where = f"its layer {name!r}" if name else "the network"
            raise ValueError(f"{where} is in training mode; call network.eval() first")
