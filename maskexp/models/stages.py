"""A backbone one stage at a time: what a stage gives can be changed before the next stage sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from maskexp.models.backbones import HUB, Backbone

Change = Callable[[int, Tensor], Tensor]


class SteppedBackbone(Backbone):
    """A :class:`~maskexp.models.Backbone` whose features can be changed between its stages.

    Works for every network in which a stage is a module whose output is fed to the next stage. Which modules these are
    is found by one image that is sent through, so that no architecture needs code of its own.

    Args:
        name: timm's name of the network, or one of our variants.
        stages: how many of the last stages to return, and to change.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen: keep weights and batch-norm statistics as they are.

    Attributes:
        stage_modules: name of the module at whose end each returned stage stands, shallow to deep.

    Raises:
        ValueError: if a stage of the network is not what the next one is fed.
    """

    def __init__(
        self,
        name: str,
        stages: int = 1,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen: bool = False,
    ) -> None:
        super().__init__(name, stages, weights, image_size, frozen)
        image = torch.zeros(1, 3, *image_size, device=self.normalize.mean.device, requires_grad=True)
        training = self.training
        self.eval()
        with torch.enable_grad():
            self.stage_modules = _find_stages(self, image)
            chained = self.stage_modules and _is_chain(self, image)
        self.train(training)
        if not chained:
            raise ValueError(
                f"the last {stages} stages of {name!r} cannot be masked one by one: the output of one is not all that "
                "the next is fed; choose a network of consecutive stages, such as a ResNet or ConvNeXt"
            )

    def forward(self, images: Tensor, change: Change | None = None) -> list[Tensor]:
        """Return the features of the stages after their change, shallow to deep.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            change: is called with the number of the stage, from 0, and its features ``(B, C, h, w)``; what it returns
                takes the place of the features, for the next stage too. None changes nothing.
        """
        if change is None:
            return super().forward(images)
        changed: list[Tensor] = []

        def replace(_: nn.Module, __: object, output: Tensor) -> Tensor:
            features = change(len(changed), output.permute(0, 3, 1, 2) if self.channels_last else output)
            changed.append(features)
            return features.permute(0, 2, 3, 1) if self.channels_last else features

        handles = [self.network.get_submodule(name).register_forward_hook(replace) for name in self.stage_modules]
        try:
            self.network(self.normalize(images))
        finally:
            for handle in handles:
                handle.remove()
        return changed


def _find_stages(backbone: Backbone, image: Tensor) -> tuple[str, ...]:
    """Return the names of the modules that put out the backbone's features; empty if one of these has none."""
    calls: list[tuple[str, object]] = []

    def note(name: str, _: nn.Module, __: object, output: object) -> None:
        calls.append((name, output))

    modules = backbone.network.named_modules()
    handles = [module.register_forward_hook(partial(note, name)) for name, module in modules if name]
    try:
        features: Sequence[Tensor] = backbone.network(backbone.normalize(image))
    finally:
        for handle in handles:
            handle.remove()
    names = [_outermost(calls, output) for output in features]
    return tuple(names) if all(names) else ()


def _outermost(calls: Sequence[tuple[str, object]], output: Tensor) -> str:
    """Return the outermost module that put out a tensor: a stage and its last layers put out one and the same."""
    names = [name for name, candidate in calls if candidate is output]
    return min(reversed(names), key=lambda name: name.count("."), default="")


def _is_chain(backbone: SteppedBackbone, image: Tensor) -> bool:
    """Return whether each stage depends on the one before it and on nothing else."""
    sources, follows = [image], []

    def cut(stage: int, features: Tensor) -> Tensor:
        gradients = torch.autograd.grad(features.sum(), sources, retain_graph=True, allow_unused=True)
        follows.append([gradient is not None for gradient in gradients] == [False] * stage + [True])
        sources.append(features.detach().requires_grad_())
        return sources[-1].clone()  # what follows may work in place

    backbone(image, cut)
    return len(follows) == len(backbone.stage_modules) and all(follows)
