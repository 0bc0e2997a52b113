"""A U-Net that is told which class to look for: the masker of RT-Saliency, and the selector of RB-AEM.

Dabkowski & Gal: "Real Time Image Saliency for Black Box Classifiers", NeurIPS 2017 (released code); Ganjdanesh et al.:
"Interpretations Steered Network Pruning via Amortized Inferred Saliency Maps", ECCV 2022 (released code).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.models.backbones import Backbone
from maskexp.models.classifier import Classifier

__all__ = ["GatedUNet"]


class GatedUNet(nn.Module):
    r"""An encoder's last maps, gated by a class at the deepest one and decoded up to the finest of them.

    The gate: :math:`a = \sum_c x_c e_{y,c}` with an embedding of the class as long as the deepest map has channels, and
    :math:`x \leftarrow \sigma(a - \kappa)\, x` with a confidence :math:`\kappa`. Each step up is a 3×3 convolution with
    pixel shuffle, the encoder's map beside it, and another 3×3 convolution.

    Args:
        backbone: timm's name of the encoder, or one of our variants.
        num_classes: classes K.
        image_size: (height, width) of the images.
        frozen: whether the encoder keeps its weights (released code); see :meth:`begin_as`.
        stages: how many of the encoder's last maps are used; the finest of them is the grid of the result.
        width: channels of the finest step; each deeper one has twice as many (released code: 64).
        out_channels: channels of the result.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        image_size: tuple[int, int] = (224, 224),
        frozen: bool = True,
        stages: int = 4,
        width: int = 64,
        out_channels: int = 2,
    ) -> None:
        super().__init__()
        self.encoder = Backbone(backbone, stages, None, image_size, frozen)
        channels = self.encoder.channels
        self.embedding = nn.Embedding(num_classes, channels[-1])
        nn.init.normal_(self.embedding.weight, std=channels[-1] ** -0.5)
        widths = [width * 2**step for step in range(stages - 1)]
        inside = [*widths[1:], channels[-1]]
        self.up = nn.ModuleList(_block(i, 4 * o) for i, o in zip(inside, widths, strict=True))
        self.join = nn.ModuleList(_block(o + skip, o) for o, skip in zip(widths, channels, strict=False))
        self.out = nn.Conv2d(width if stages > 1 else channels[-1], out_channels, kernel_size=1)

    def begin_as(self, classifier: Classifier) -> None:
        """Give the encoder the weights and statistics of a classifier with the same backbone.

        timm gives both their layers in the same order, under names that may differ; the classifier has more behind.

        Raises:
            ValueError: if the backbone's pyramid has other layers than its classifier.
        """
        own = self.encoder.network.state_dict()
        values = list(classifier.network.state_dict().values())[: len(own)]
        if [value.shape for value in values] != [value.shape for value in own.values()]:
            raise ValueError(
                f"the feature pyramid of {self.encoder.name!r} has other layers than its classifier, so that it cannot "
                "begin as one; choose another backbone, e.g. resnet18"
            )
        self.encoder.network.load_state_dict(dict(zip(own, values, strict=True)))

    def forward(self, images: Tensor, target: Tensor, confidence: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return what the decoder says of the classes, and how present they are.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` int64 class to look for.
            confidence: what the gate's activation has to exceed to open more than half.

        Returns:
            The result ``(B, out_channels, h, w)`` on the finest map's grid, and a logit of each class's presence
            ``(B,)``, the mean activation of the gate.
        """
        *skips, deepest = self.encoder(images)
        activation = (deepest * self.embedding(target)[:, :, None, None]).sum(dim=1, keepdim=True)
        values: Tensor = deepest * torch.sigmoid(activation - confidence)
        for step in reversed(range(len(self.up))):
            skip = skips[step]
            values = F.pixel_shuffle(self.up[step](values), 2)
            if values.shape[-2:] != skip.shape[-2:]:  # an odd size, or another stride than 2 between the maps
                values = F.interpolate(values, size=skip.shape[-2:], mode="nearest")
            values = self.join[step](torch.cat([values, skip], dim=1))
        result: Tensor = self.out(values)
        return result, activation.float().mean(dim=(1, 2, 3))


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )
