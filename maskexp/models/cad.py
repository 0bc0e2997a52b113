"""CAD's network: a ResNet that looks closely at the regions that a learned mask selects, and coarsely at the others.

Hesse, Schaub-Meyer, Roth: "Content-Adaptive Downsampling in Convolutional Neural Networks", CVPR workshops 2023: the
learned mask of the released code, with a classifier in the place of the segmentation head (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from maskexp.masking import CADEstimator, GumbelBinarizer
from maskexp.masking.binarize import given_mask
from maskexp.models.backbones import HUB
from maskexp.models.network import Network
from maskexp.models.residual_blocks import ResidualBlock, without_stride
from maskexp.models.resnets import ResNet
from maskexp.types import OWN, Prediction


class CADNetwork(Network):
    r"""The last two stages of a ResNet at two resolutions, :math:`F = m \odot F_{high} + (1 - m) \odot F_{low}`.

    Behind the second stage (stride 8) an estimator decides for each cell of stride 16 whether the rest of the network
    is seen at stride 8, with dilated convolutions, or at stride 16. Both paths share all weights and have batch-norm
    statistics of their own. Both are computed everywhere: the mask says where detail was wanted; it hides nothing.

    Args:
        backbone: a ResNet, see :class:`~maskexp.models.resnets.ResNet`.
        num_classes: classes K.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen_backbone: train only estimator and head.
        temperature: of the straight-through gradient (released code: 1).
        eval_noise: draw the mask in evaluation too, as the released code does; by default it is the same each time.

    Raises:
        ValueError: if the backbone is no ResNet of plain blocks.
    """

    masked_stages = 1

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        temperature: float,
        eval_noise: bool,
    ) -> None:
        super().__init__()
        self.resnet = ResNet(backbone, num_classes, weights, image_size, frozen_backbone)
        stages = self.resnet.stages
        third, fourth = cast(nn.Sequential, stages[2]), cast(nn.Sequential, stages[3])
        self.high = nn.Sequential(without_stride(third, 2, 1), without_stride(fourth, 4, 2))
        stages[3] = without_stride(fourth, 2, 1)
        self.estimator = CADEstimator(cast(ResidualBlock, third[0]).in_channels)
        self.binarizer = GumbelBinarizer("softmax2", temperature, eval_noise)
        self.train(self.training)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: one ``(B, 1, H / 16, W / 16)`` mask, 1 for high resolution, in the place of the network's own.

        Returns:
            A prediction with one mask, 1 for high resolution, which is its ``attribution``; ``features`` is the mixed
            map at stride 8; ``extras["mask_logits"]``, ``(B, 2, H / 16, W / 16)``, has the logit of *low* second.

        Raises:
            ValueError: if there are more or fewer ``masks``, or the one lies on another grid.
        """
        shared = self.resnet.begin(images)
        for stage in self.resnet.stages[:2]:
            shared = stage(shared)
        logits = self.estimator(shared)
        mask = 1 - self.binarizer(logits) if masks is None else given_mask(masks, 0, 1, logits.shape)

        high, low = self.high(shared), self.resnet.stages[3](self.resnet.stages[2](shared))
        size = (high.shape[-2], high.shape[-1])
        chosen = _double(mask, size).to(high.dtype)
        features = high * chosen + _double(low, size) * (1 - chosen)
        return Prediction(
            logits=self.classify(features),
            attributions={OWN: mask},
            masks=(mask,),
            interpolation="nearest",
            features=features,
            extras={"mask_logits": logits},
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the mixed map, from which Grad-CAM differentiates."""
        return self.resnet.classify(features)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the ResNet without its head, which both paths share."""
        return self.resnet.backbone_parameters()

    def train(self, mode: bool = True) -> CADNetwork:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.resnet.frozen:
            self.high.eval()
        return self


def _double(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat each cell of ``(B, C, h, w)`` twice in both directions, cut to ``size``."""
    return values.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[..., : size[0], : size[1]]
