"""The plain classifier: a timm network that sees the whole image and says nothing about where it looked."""

from __future__ import annotations

from typing import Any

from timm.models import VisionTransformer
from torch import Tensor, nn

from maskexp.models.backbones import HUB, Normalize, create_timm
from maskexp.models.network import Network
from maskexp.types import Prediction


class Classifier(Network):
    """Any timm network with its own pooling and head.

    Args:
        backbone: timm's name of the network, or one of our variants.
        num_classes: classes K.
        weights: ``timm``, a file, or None; the head is new unless the weights have one for as many classes.
        image_size: (height, width) of the images.
        frozen_backbone: train nothing but the head.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.network: Any = create_timm(backbone, weights, image_size, num_classes=num_classes)
        self.normalize = Normalize.of(self.network)
        self.has_tokens = isinstance(self.network, VisionTransformer)
        self.channels_last = str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC")
        self.frozen_backbone = frozen_backbone
        if frozen_backbone:
            for parameter in self.backbone_parameters():
                parameter.requires_grad_(False)
        self.train(self.training)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1]; the prediction has no attribution of its own."""
        features, last = self._features(self.normalize(images))
        return Prediction(logits=self.network.forward_head(last), features=features)

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for :attr:`Prediction.features`, from which Grad-CAM differentiates."""
        if self.has_tokens:
            features = self.network.norm(self.network.blocks[-1](features))
        logits: Tensor = self.network.forward_head(features)
        return logits

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        if self.has_tokens:
            patches = features[:, self.network.num_prefix_tokens :]
            height, width = self.network.patch_embed.grid_size
            return patches.transpose(1, 2).reshape(features.shape[0], -1, height, width)
        return features.permute(0, 3, 1, 2) if self.channels_last else features

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return all parameters but those of timm's classifier layer, which is new."""
        new = {id(parameter) for parameter in self.network.get_classifier().parameters()}
        return [parameter for parameter in self.network.parameters() if id(parameter) not in new]

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the last spatial layer sees, and what the head sees.

        Of a vision transformer the former are the tokens before the last block: after it, a class token has already
        taken what it wants, and the patches have no gradient.
        """
        if not self.has_tokens:
            features: Tensor = self.network.forward_features(images)
            return features, features
        tokens: list[Tensor] = []
        hook = self.network.blocks[-1].register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
        try:
            last: Tensor = self.network.forward_features(images)
        finally:
            hook.remove()
        return tokens[0], last

    def train(self, mode: bool = True) -> Classifier:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen_backbone:
            self.network.eval()
        return self
