"""A classifier that is trained on randomly masked images, so that it can decide from any part of one."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from maskexp.masking.inputs import Fill, create_input_masking
from maskexp.masking.random_masks import RandomMasks
from maskexp.models.classifier import Classifier
from maskexp.models.network import Network
from maskexp.types import Prediction

__all__ = ["MaskedClassifierNetwork", "fill_by_name"]


def fill_by_name(hiding: str, method: str) -> Fill:
    """Return the paint of this name.

    Raises:
        ValueError: if it is a way of hiding that does not paint, and so has no gradient in a mask.
    """
    found = create_input_masking(hiding)
    if not isinstance(found, Fill):
        raise ValueError(f"{method} shows images through soft masks, which {hiding!r} cannot; choose a colour, or grey")
    return found


class MaskedClassifierNetwork(Network):
    """A classifier; in training each image is shown through a random mask.

    Args:
        backbone: timm's name of the network, or one of our variants.
        num_classes: classes K.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen_backbone: train nothing but the head.
        hiding: what is painted over hidden pixels.
        masks: how masks are drawn.
        teacher: whether there is a second, fixed classifier of whole images to learn from.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        weights: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        hiding: str,
        masks: RandomMasks,
        teacher: bool,
    ) -> None:
        super().__init__()
        self.hiding = fill_by_name(hiding, "MaskedClassifier")
        self.masks = masks
        self.classifier = Classifier(backbone, num_classes, weights, image_size, frozen_backbone)
        self.teacher: Classifier | None = None
        if teacher:
            self.teacher = fixed(Classifier(backbone, num_classes, None, image_size))
        self.train(self.training)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1]: in training through random masks, in evaluation whole.

        In training ``extras`` hold ``teacher_logits``, the teacher's for the whole images, if there is one.
        """
        if not self.training:
            return cast(Prediction, self.classifier(images))
        prediction: Prediction = self.classifier(self.hiding.blend(images, self.masks.draw(images)))
        if self.teacher is not None:
            with torch.no_grad():
                prediction.extras["teacher_logits"] = self.teacher(images).logits
        return prediction

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.classifier.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.classifier.as_map(features)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the classifiers' backbones."""
        classifiers = [self.classifier] if self.teacher is None else [self.classifier, self.teacher]
        return [parameter for classifier in classifiers for parameter in classifier.backbone_parameters()]

    def train(self, mode: bool = True) -> MaskedClassifierNetwork:
        """Switch to training mode; the teacher stays in evaluation mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self


def fixed(classifier: Classifier) -> Classifier:
    """Return a classifier of which nothing is trained; who holds it keeps it in evaluation mode."""
    classifier.requires_grad_(False)
    return classifier.eval()
