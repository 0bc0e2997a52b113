"""Bottom-up masks: a backbone that masks what its own stages hand on.

The baseline of AIM's ablation (Alshami et al., ICCV 2025). Its definition is not published; this is what the
name suggests (inferred): the mask estimator of AIM behind the last stages of the backbone, each masked map fed to the
next stage, one classifier at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskexp.masking import GumbelBinarizer, intersect_masks
from maskexp.masking.binarize import GumbelForm, given_mask
from maskexp.masking.estimators import stage_estimators
from maskexp.models.backbones import HUB
from maskexp.models.network import Network
from maskexp.models.pooling import Pooling, check_pooling, decide
from maskexp.models.stages import SteppedBackbone
from maskexp.types import OWN, Prediction


class BottomUpNetwork(Network):
    r"""Masks on the last *s* stages of a backbone, in the backbone's own path.

    For each of these stages, :math:`B_l = G(M_l(F_l))` and :math:`F_{l+1} = S_{l+1}(F_l \odot B_l)`; the decision is
    taken from the masked map of the last stage. In contrast to AIM a deeper mask cannot see what a shallower one has
    hidden, and there is no classifier of a stage's own.

    Args:
        backbone: timm's name of the network, or one of our variants; its stages must follow each other.
        num_classes: classes K.
        stages: *s*, how many of the last stages are masked.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen_backbone: train only estimators and classifier.
        estimator_reduction: hidden width of an estimator is its input's divided by this (as in AIM's network).
        estimator_blocks: residual blocks of an estimator.
        global_branch: whether the estimator adds a pooled vector.
        initial_bias: first bias of the mask logits; positive starts with active masks.
        gumbel: ``sigmoid`` or ``softmax2``.
        temperature: of the straight-through gradient.
        eval_noise: draw masks in evaluation too.
        pooling: average over ``all`` positions, or over the ``active`` ones only.

    Raises:
        ValueError: if the backbone's stages cannot be masked one by one, or an argument is impossible.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        stages: int,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        estimator_reduction: int,
        estimator_blocks: int,
        global_branch: bool,
        initial_bias: float,
        gumbel: GumbelForm,
        temperature: float,
        eval_noise: bool,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        self.backbone = SteppedBackbone(backbone, stages, weights, image_size, frozen_backbone)
        self.binarizer = GumbelBinarizer(gumbel, temperature, eval_noise)
        self.pooling = pooling
        self.masked_stages = stages
        self.estimators = stage_estimators(
            self.backbone.channels,
            estimator_reduction,
            estimator_blocks,
            global_branch,
            self.binarizer.logit_channels,
            initial_bias,
        )
        self.head = nn.Linear(self.backbone.channels[-1], num_classes)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images from what the masks let through.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: ``(B, 1, h_l, w_l)`` masks, deepest stage first, that take the place of the network's own.

        Returns:
            A prediction whose ``masks`` are B_l, deepest stage first, as AIM's; ``attribution`` is their intersection
            on the finest grid (ours: what passes every mask); ``features`` is the masked map of the last stage.

        Raises:
            ValueError: if there are more or fewer ``masks``, or one lies on another grid.
        """
        used: list[Tensor] = []

        def mask_stage(stage: int, features: Tensor) -> Tensor:
            if masks is None:
                mask = self.binarizer(self.estimators[stage](features))
            else:
                mask = given_mask(masks, self.masked_stages - 1 - stage, self.masked_stages, features.shape)
            used.append(mask)
            return features * used[-1].to(features.dtype)

        features = self.backbone(images, mask_stage)[-1]
        return Prediction(
            logits=decide(self.head, features, used[-1], self.pooling),
            attributions={OWN: intersect_masks(used)},
            masks=tuple(reversed(used)),
            interpolation="nearest",
            features=features,
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the masked map of the last stage, from which Grad-CAM differentiates."""
        return decide(self.head, features, (features != 0).any(dim=1, keepdim=True), self.pooling)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the backbone."""
        return list(self.backbone.parameters())
