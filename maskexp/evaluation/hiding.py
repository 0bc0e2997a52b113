"""Ways of hiding that an evaluation asks by, tried on one image before a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from maskexp.masking.inputs import InputMasking

__all__ = ["require_passage"]


def require_passage(
    evaluation: str, network: nn.Module, ways: Mapping[str, InputMasking], size: tuple[int, int]
) -> None:
    """Refuse ways of hiding that a network does not let pass, rather than after hours of training.

    Args:
        evaluation: its name, for the message.
        network: the classifier; left as it is found.
        ways: of hiding, by their names in a configuration.
        size: height and width of the images.

    Raises:
        ValueError: if one of them cannot be used on this network.
    """
    parameter = next(network.parameters(), None)
    images = torch.full((1, 3, *size), 0.5, device=None if parameter is None else parameter.device)
    visible = torch.ones_like(images[:, :1], dtype=torch.bool)
    visible[..., : size[0] // 2, :] = False
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for name, hiding in ways.items():
                try:
                    hiding(network, images, visible)
                except ValueError as error:
                    raise ValueError(f"{evaluation} cannot hide by {name!r}: {error}") from error
    finally:
        for module in training:
            module.training = True
