"""RB-AEM's network: a selector that says where one bump lies and how wide it is, and a predictor that sees through it.

Ganjdanesh, Gao, Huang: "Interpretations Steered Network Pruning via Amortized Inferred Saliency Maps", ECCV 2022.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.masking.random_masks import radial_map
from maskexp.masking.relaxed import relaxed_bernoulli
from maskexp.models.classifier import Classifier
from maskexp.models.gated_unet import GatedUNet
from maskexp.models.masked_classifier import fill_by_name, fixed
from maskexp.models.network import Network
from maskexp.types import OWN, Prediction

__all__ = ["RBAEMNetwork"]

MARGIN = 4 / 224
"""Least distance of a centre from the border, as a share of the side (released code: 4 of 224 pixels)."""


class RBAEMNetwork(Network):
    r"""Selector :math:`(c, \sigma)(x, y)`, predictor :math:`f`, fixed, and the explained classifier :math:`f_b`.

    The map is :math:`\exp(-d^2 / 2 \sigma^2)`, divided by its maximum, with the distance :math:`d` from the centre. The
    decision is the predictor's for the image under the map of the class that :math:`f_b` predicts: no label takes part.

    Args:
        backbone: timm's name of the networks and of the selector's encoder, or one of our variants.
        num_classes: classes K.
        image_size: (height, width) of the images.
        hiding: what is painted over hidden pixels.
        draw: whether, in training, pixels are drawn from the map, relaxed, or the map itself is the mask.
        initial_sigma: first deviation, as a share of the shorter side.
        encoder_stages: how many of the encoder's last maps the selector uses.
        decoder_width: channels of the decoder's finest step, and of its result.
    """

    masked_stages = 1

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        image_size: tuple[int, int] = (224, 224),
        hiding: str,
        draw: bool,
        initial_sigma: float,
        encoder_stages: int,
        decoder_width: int,
    ) -> None:
        super().__init__()
        self.hiding = fill_by_name(hiding, "RBAEM")
        self.draw = draw
        self.predictor = fixed(Classifier(backbone, num_classes, None, image_size))
        self.teacher = fixed(Classifier(backbone, num_classes, None, image_size))
        self.unet = GatedUNet(
            backbone,
            num_classes,
            image_size=image_size,
            stages=encoder_stages,
            width=decoder_width,
            out_channels=decoder_width,
        )
        grid = [math.ceil(side / self.unet.encoder.strides[0]) for side in image_size]
        self.head = nn.Conv2d(decoder_width, 3, kernel_size=(grid[0], grid[1]))
        sigma = initial_sigma * min(image_size)
        nn.init.zeros_(self.head.weight)  # begins in the middle, as wide as it is told
        self.head.bias.data.copy_(torch.tensor([0.0, 0.0, sigma + math.log(-math.expm1(-sigma))]))  # type: ignore[union-attr]
        self.train(self.training)

    def begin_as(self, predictor: Classifier, teacher: Classifier) -> None:
        """Take over the trained predictor and the classifier that it learned from, as which the encoder begins too."""
        self.predictor.load_state_dict(predictor.state_dict())
        self.teacher.load_state_dict(teacher.state_dict())
        self.unet.begin_as(teacher)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1] from under a bump, and explain a class of each.

        Args:
            images: ``(B, 3, H, W)``.
            target: ``(B,)`` class whose map is the attribution; the one that the classifier predicts if None.

        Returns:
            A prediction whose mask is the map, in training the mask drawn from it, of the class that the classifier of
            whole images predicts. ``extras`` hold its ``teacher_logits``, and ``map``.
        """
        with torch.no_grad():
            whole = self.teacher(images).logits
        predicted = whole.argmax(dim=1)
        bump = self.select(images, predicted)
        mask = bump
        if self.training and self.draw:
            mask = relaxed_bernoulli(torch.logit(bump.clamp(1e-6, 1 - 1e-6)), 1.0)
        prediction = cast(Prediction, self.predictor(self.hiding.blend(images, mask.to(images.dtype))))
        prediction.masks = (mask,)
        asked = bump if target is None or torch.equal(target, predicted) else self.select(images, target)
        prediction.attributions[OWN] = asked
        prediction.extras |= {"teacher_logits": whole, "map": bump}
        return prediction

    def select(self, images: Tensor, target: Tensor) -> Tensor:
        """Return the map ``(B, 1, H, W)`` of a class of each image, in (0, 1], at its largest 1."""
        decoded, _ = self.unet(images, target)
        with torch.autocast(device_type=images.device.type, enabled=False):
            row, column, width = (
                F.conv2d(decoded.to(self.head.weight.dtype), self.head.weight, self.head.bias).flatten(1).unbind(dim=1)
            )
            size = (images.shape[-2], images.shape[-1])
            reach = [(0.5 - MARGIN) * side for side in size]
            centre = [
                side / 2 + far * torch.tanh(value / far)
                for side, far, value in zip(size, reach, (row, column), strict=True)
            ]
            bump = radial_map(torch.stack(centre, dim=1), F.softplus(width) + 1e-8, size)
            return bump / bump.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(bump.dtype).tiny)

    def classify(self, features: Tensor) -> Tensor:
        """Return the predictor's logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.predictor.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.predictor.as_map(features)

    @property
    def plain_predictor(self) -> nn.Module:
        """The predictor, which was trained to decide from under any bump."""
        return self.predictor

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the selector's encoder."""
        return list(self.unet.encoder.parameters())

    def train(self, mode: bool = True) -> RBAEMNetwork:
        """Switch to training mode; predictor and classifier stay in evaluation mode."""
        super().train(mode)
        self.predictor.eval()
        self.teacher.eval()
        return self
