"""AIM's network: a top-down path that masks each stage of a backbone and decides from what is left.

Alshami, Agnihotri, Schiele, Keuper: "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskexp.masking import GumbelBinarizer, check_share, dilate_mask, merge_masks, run_masked, upsample_nearest
from maskexp.masking.binarize import GumbelForm, given_mask
from maskexp.masking.estimators import stage_estimators
from maskexp.models.backbones import HUB, Backbone
from maskexp.models.network import Network
from maskexp.models.pooling import Pooling, check_pooling, decide
from maskexp.types import OWN, Prediction

EstimatorInput = Literal["stage", "pyramid"]


class AIMNetwork(Network):
    r"""AIM[s, ·]: masks on the last *s* stages of a backbone, fused from the deepest stage up.

    For each used stage with backbone feature :math:`F_l`: a mask estimator :math:`M_l` and the Gumbel binariser
    :math:`G` give :math:`B_l = G(M_l(F_l))`, a feature branch :math:`T_l` gives :math:`O_l = T_l(F_l) \odot B_l`, and
    the fusion is :math:`P_l = O_l + \mathrm{Up}(P_{l+1})` with nearest-neighbour upsampling. Each :math:`O_l` has a
    classifier of its own; the decision is taken from the final :math:`P`, which is zero wherever no mask is active.
    With one stage the two coincide.

    The mask is faithful in feature space: a hidden pixel can still reach an active cell through the receptive field.

    Args:
        backbone: timm's name of the network, or one of our variants.
        num_classes: classes K.
        stages: *s*, how many of the last stages take part; 2 in the paper's tables.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen_backbone: train only what AIM adds.
        feature_width: channels of the feature branches and of the fused map (inferred: FPN, and the paper's overhead).
        branch_kernel: side of the branch's second convolution; 1 keeps the receptive field of a cell as small as the
            backbone's (3 is FPN's, inferred; 1 is ours).
        estimator_input: what the estimator of a stage reads: its ``stage``'s backbone feature alone (paper, as
            summarised), or the whole ``pyramid`` from that stage down, the deeper features upsampled (ours: lets the
            fine mask know what only deep features know).
        estimator_reduction: hidden width of an estimator is its input's divided by this (inferred from the overhead).
        estimator_blocks: residual blocks of an estimator (paper, as summarised: 3).
        global_branch: whether the estimator adds a pooled vector (paper; how it is added is inferred).
        initial_bias: first bias of the mask logits; positive starts with active masks (inferred).
        gumbel: ``sigmoid`` or ``softmax2`` (inferred).
        temperature: of the straight-through gradient (inferred).
        eval_noise: draw masks in evaluation too (inferred: no).
        pooling: average over ``all`` positions, or over the ``active`` ones only, which hides the mask's area from the
            classifier (inferred: all).
        sparse_below: see :meth:`sparse_inference`.
        unmasked_heads: whether each stage has, in training, a further classifier of its unmasked features, which they
            do not learn from: what the stage could know without its mask (ours).

    Raises:
        ValueError: if an argument is impossible; the sentence names it.
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
        feature_width: int,
        branch_kernel: int,
        estimator_input: EstimatorInput,
        estimator_reduction: int,
        estimator_blocks: int,
        global_branch: bool,
        initial_bias: float,
        gumbel: GumbelForm,
        temperature: float,
        eval_noise: bool,
        pooling: Pooling,
        sparse_below: float,
        unmasked_heads: bool = False,
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        if estimator_input not in ("stage", "pyramid"):
            raise ValueError(f"unknown estimator_input {estimator_input!r}; choose stage or pyramid")
        if feature_width < 1:
            raise ValueError(f"feature_width is {feature_width}; a feature branch needs at least 1 channel")
        if branch_kernel < 1 or branch_kernel % 2 == 0:
            raise ValueError(
                f"branch_kernel is {branch_kernel}; only an odd one, such as 3, keeps the grid of the mask"
            )
        self.backbone = Backbone(backbone, stages, weights, image_size, frozen_backbone)
        self.binarizer = GumbelBinarizer(gumbel, temperature, eval_noise)
        self.pooling = pooling
        self.masked_stages = stages
        self.estimator_input = estimator_input
        deepest_first = self.backbone.channels[::-1]
        estimator_channels = list(accumulate(deepest_first)) if estimator_input == "pyramid" else deepest_first
        self.estimators = stage_estimators(
            estimator_channels,
            estimator_reduction,
            estimator_blocks,
            global_branch,
            self.binarizer.logit_channels,
            initial_bias,
        )
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, feature_width, kernel_size=1),
                nn.Conv2d(feature_width, feature_width, branch_kernel, padding=branch_kernel // 2),
            )
            for channels in deepest_first
        )
        self.head = nn.Linear(feature_width, num_classes)
        self.sparse_inference(sparse_below)
        self.stage_heads = nn.ModuleList(nn.Linear(feature_width, num_classes) for _ in deepest_first if stages > 1)
        self.unmasked_heads = nn.ModuleList(
            nn.Linear(feature_width, num_classes) for _ in deepest_first if unmasked_heads
        )

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images from the regions that the masks keep.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: ``(B, 1, h_l, w_l)`` masks, deepest stage first, that take the place of the network's own.

        Returns:
            A prediction whose ``masks`` are B_l, deepest stage first; ``attribution`` is their union on the finest
            grid; ``features`` is the fused map P; ``extras["stage_logits"]`` holds the logits of the stage classifiers,
            and ``extras["unmasked_logits"]``, in training, those of the unmasked heads.

        Raises:
            ValueError: if there are more or fewer ``masks``, or one lies on another grid.
        """
        features = self.backbone(images)[::-1]
        if masks is None:
            masks = self._masks(features)
        else:
            masks = [given_mask(masks, stage, len(features), feature.shape) for stage, feature in enumerate(features)]
        unmasked: tuple[Tensor, ...] = ()
        if self.training and self.unmasked_heads:
            dense = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
            sparse = [feature * mask for feature, mask in zip(dense, masks, strict=True)]
            pooled = [feature.detach().mean(dim=(-2, -1)) for feature in dense]
            unmasked = tuple(head(vector) for head, vector in zip(self.unmasked_heads, pooled, strict=True))
        else:
            sparse = [self._masked(*stage) for stage in zip(self.branches, features, masks, strict=True)]

        fused = sparse[0]
        for stage in sparse[1:]:
            fused = stage + upsample_nearest(fused, (stage.shape[-2], stage.shape[-1]))
        merged = merge_masks(masks)

        logits = decide(self.head, fused, merged, self.pooling)
        stage_logits = [
            decide(cast(nn.Linear, head), stage, mask, self.pooling)
            for head, stage, mask in zip(self.stage_heads, sparse, masks, strict=False)
        ]
        return Prediction(
            logits=logits,
            attributions={OWN: merged},
            masks=tuple(masks),
            interpolation="nearest",
            features=fused,
            extras={"stage_logits": tuple(stage_logits), "unmasked_logits": unmasked},
        )

    def sparse_inference(self, below: float = 1.0) -> None:
        """Compute the feature branches at active positions, and what these need, alone, in evaluation mode.

        The result equals the dense one up to rounding. Backbone and estimators stay dense.

        Args:
            below: active share of a stage's mask, over the batch, up to which its branch is computed sparsely: 1 is
                always, 0 never.

        Raises:
            ValueError: if ``below`` is not in [0, 1].
        """
        check_share(below)
        self.sparse_below = below

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for a fused map ``(B, feature_width, h, w)``, from which Grad-CAM differentiates."""
        return decide(self.head, features, (features != 0).any(dim=1, keepdim=True), self.pooling)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the backbone."""
        return list(self.backbone.parameters())

    def _masked(self, branch: nn.Module, features: Tensor, mask: Tensor) -> Tensor:
        """Return what a stage hands on, T_l(F_l) ⊙ B_l."""
        if not self.training and self.sparse_below > 0 and mask.mean() <= self.sparse_below:
            lateral, smooth = cast(nn.Sequential, branch)
            needed = dilate_mask(mask, cast(nn.Conv2d, smooth), mask.shape[-2:])
            return run_masked([lateral], [smooth], features, mask, needed).dense()
        masked: Tensor = branch(features) * mask
        return masked

    def _masks(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the masks of all stages, deepest first, as the features are."""
        masks = []
        for stage, estimator in enumerate(self.estimators):
            seen = features[stage]
            if self.estimator_input == "pyramid":
                size = (seen.shape[-2], seen.shape[-1])
                seen = torch.cat([seen, *(upsample_nearest(deeper, size) for deeper in features[:stage])], dim=1)
            masks.append(self.binarizer(estimator(seen)))
        return masks
