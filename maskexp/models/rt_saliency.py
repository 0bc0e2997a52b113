"""RT-Saliency's network: a fixed classifier, and a masker that explains it in one forward pass.

Dabkowski & Gal: "Real Time Image Saliency for Black Box Classifiers", NeurIPS 2017.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskexp.models.classifier import Classifier
from maskexp.models.gated_unet import GatedUNet
from maskexp.models.masked_classifier import fixed
from maskexp.models.network import Network
from maskexp.models.selector import enlarge
from maskexp.types import OWN, Prediction

__all__ = ["RTSaliencyNetwork"]

Encoder = Literal["classifier", "scratch"]


class RTSaliencyNetwork(Network):
    r"""Classifier :math:`f`, fixed, which decides from the whole image; masker :math:`m(x, y)`, which is trained.

    The mask is :math:`|a| / (|a| + |b|)` of the masker's two channels, enlarged bilinearly.

    Args:
        backbone: timm's name of the classifier and of the masker's encoder, or one of our variants.
        num_classes: classes K.
        image_size: (height, width) of the images.
        encoder: ``classifier``: the encoder has the classifier's weights, and keeps them; ``scratch``: it is trained.
        encoder_stages: how many of its last maps the masker uses.
        decoder_width: channels of the decoder's finest step.
        confidence: of the gate, in evaluation.
    """

    masked_stages = 1

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        image_size: tuple[int, int] = (224, 224),
        encoder: Encoder,
        encoder_stages: int,
        decoder_width: int,
        confidence: float,
    ) -> None:
        super().__init__()
        self.classifier = fixed(Classifier(backbone, num_classes, None, image_size))
        self.masker = GatedUNet(
            backbone,
            num_classes,
            image_size=image_size,
            frozen=encoder == "classifier",
            stages=encoder_stages,
            width=decoder_width,
        )
        self.encoder_kind = encoder
        self.confidence = confidence
        self.train(self.training)

    def begin_as(self, trained: Classifier) -> None:
        """Take over a trained classifier, and let the encoder begin as it where it is to stay."""
        self.classifier.load_state_dict(trained.state_dict())
        if self.encoder_kind == "classifier":
            self.masker.begin_as(trained)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1], and explain a class of each.

        Args:
            images: ``(B, 3, H, W)``.
            target: ``(B,)`` class; the predicted one if None.

        Returns:
            The classifier's prediction for the whole images. Its ``attribution`` and only mask is the mask of the
            target ``(B, 1, H, W)``; in training there is none, because the objective chooses what to ask for.
        """
        with torch.no_grad():
            prediction = cast(Prediction, self.classifier(images))
        if not self.training:
            chosen = prediction.logits.argmax(dim=1) if target is None else target
            mask, _ = self.mask(images, chosen, self.confidence)
            prediction.attributions[OWN], prediction.masks = mask, (mask,)
        return prediction

    def mask(self, images: Tensor, target: Tensor, confidence: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the mask ``(B, 1, H, W)`` of a class of each image, and the logit ``(B,)`` of its presence."""
        channels, presence = self.masker(images, target, confidence)
        first, second = channels.float().abs().chunk(2, dim=1)
        share = first / (first + second + torch.finfo(torch.float32).tiny ** 0.5)
        return enlarge(share, (images.shape[-2], images.shape[-1])).clamp(0, 1), presence

    def classify(self, features: Tensor) -> Tensor:
        """Return the classifier's logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.classifier.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.classifier.as_map(features)

    @property
    def plain_predictor(self) -> nn.Module:
        """The classifier, which is what decides."""
        return self.classifier

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the masker's encoder."""
        return list(self.masker.encoder.parameters())

    def train(self, mode: bool = True) -> RTSaliencyNetwork:
        """Switch to training mode; the classifier stays in evaluation mode."""
        super().train(mode)
        self.classifier.eval()
        return self
