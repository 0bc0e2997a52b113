"""DynConv's network: a ResNet whose residual blocks run only where a mask of their own is active.

Verelst & Tuytelaars: "Dynamic Convolutions: Exploiting Spatial Sparsity for Faster Inference", CVPR 2020, in the form
of the released code for classification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskexp.masking import DynConvEstimator, GumbelBinarizer, PositionMACs, average_masks, check_share
from maskexp.masking.binarize import given_mask
from maskexp.models.backbones import HUB
from maskexp.models.network import Network
from maskexp.models.residual_blocks import ResidualBlock
from maskexp.models.resnets import ResNet
from maskexp.types import OWN, Prediction


class DynConvNetwork(Network):
    r"""A mask for each residual block: ``out = ReLU(shortcut + mask ⊙ branch(x))``.

    Each mask is estimated from its block's input and lies on the block's output. Stem, shortcuts and head are never
    masked, so that every position reaches the classifier: the masks say where computation was spent, not what was
    seen.

    Training is dense, batch-norm statistics include what the masks hide (as in the released code). In evaluation a
    block can be computed sparsely, see :meth:`sparse_inference`.

    Args:
        backbone: a ResNet, see :class:`~maskexp.models.resnets.ResNet`.
        num_classes: classes K.
        weights: ``timm``, a file, or None.
        image_size: (height, width) of the images.
        frozen_backbone: train only mask units and head.
        temperature: of the straight-through gradient.
        sparse_below: see :meth:`sparse_inference`.

    Raises:
        ValueError: if the backbone is no ResNet of plain blocks.
    """

    reported = ("macs",)

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        temperature: float = 1.0,
        sparse_below: float,
    ) -> None:
        super().__init__()
        self.resnet = ResNet(backbone, num_classes, weights, image_size, frozen_backbone)
        blocks = self.resnet.blocks
        self.units = nn.ModuleList(DynConvEstimator(block.in_channels, block.stride) for block in blocks)
        self.binarizer = GumbelBinarizer("sigmoid", temperature)
        self.masked_stages = len(blocks)
        self.sparse_inference(sparse_below)

    @property
    def block_macs(self) -> tuple[PositionMACs, ...]:
        """Multiply-accumulates a position of each block."""
        return tuple(block.macs for block in self.resnet.blocks)

    def sparse_inference(self, below: float = 1.0) -> None:
        """Compute blocks at their active positions alone, in evaluation mode.

        The result equals the dense one up to rounding, as long as no mask logit is so near 0 that rounding decides it.

        Args:
            below: share of its multiply-accumulates, over the batch and counted as the budget counts them, that a
                block's masks leave, up to which it is computed sparsely: 1 always, 0 never.

        Raises:
            ValueError: if ``below`` is not in [0, 1], or a block has layers that mix positions.
        """
        check_share(below)
        if below > 0:
            for block in self.resnet.blocks:
                block.check_sparse()
        self.sparse_below = below

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: ``(B, 1, h_b, w_b)`` masks in {0, 1}, one a block, that take the place of the network's own.

        Returns:
            A prediction whose ``masks`` are those of the blocks, shallow to deep; ``attribution`` is the share of the
            blocks that a position was worth (ours); ``features`` is the output of the last block;
            ``extras["dilated"]`` holds the dilated masks and ``extras["macs"]``, ``(B,)``, the multiply-accumulates
            that each image asks for, with all convolutions and linear layers.

        Raises:
            ValueError: if there are more or fewer ``masks``, or one lies on another grid.
        """
        features = self.resnet.begin(images)
        used, dilated = list[Tensor](), list[Tensor]()
        macs = features.new_full((images.shape[0],), self.resnet.fixed_macs(images.shape[-2:]), dtype=torch.float32)
        for number, block in enumerate(self.resnet.blocks):
            unit = cast(DynConvEstimator, self.units[number])
            if masks is None:
                mask = self.binarizer(unit(features))
            else:
                grid = block.convolved_size(features.shape[-2:])
                mask = given_mask(masks, number, self.masked_stages, (len(images), 1, *grid))
            wide = block.dilate(mask, features.shape[-2:])
            features = self._run(block, features, mask, wide)
            macs += _block_macs(block, unit, mask, wide)
            used.append(mask)
            dilated.append(wide)
        return Prediction(
            logits=self.classify(features),
            attributions={OWN: average_masks(used)},
            masks=tuple(used),
            interpolation="nearest",
            features=features,
            extras={"dilated": tuple(dilated), "macs": macs},
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the output of the last block, from which Grad-CAM differentiates."""
        return self.resnet.classify(features)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the ResNet without its head."""
        return self.resnet.backbone_parameters()

    def _run(self, block: ResidualBlock, features: Tensor, mask: Tensor, dilated: Tensor) -> Tensor:
        if not self.training and self.sparse_below > 0 and self._is_sparse(block.macs, mask, dilated):
            return block.forward_sparse(features, mask, dilated)
        output: Tensor = block(features, mask)
        return output

    def _is_sparse(self, macs: PositionMACs, mask: Tensor, dilated: Tensor) -> bool:
        """Return whether the masks leave at most the share ``sparse_below`` of a block's multiply-accumulates."""
        # In integers, so that rounding makes no full mask more than full.
        spent = mask.count_nonzero() * macs.mask + dilated.count_nonzero() * macs.dilated
        whole = mask.numel() * macs.mask + dilated.numel() * macs.dilated
        return spent.item() <= self.sparse_below * whole


def _block_macs(block: ResidualBlock, unit: DynConvEstimator, mask: Tensor, dilated: Tensor) -> Tensor:
    """Return the multiply-accumulates of a block, its mask unit and its shortcut for each image, ``(B,)``."""
    positions = mask[0].numel()
    fixed = block.shortcut_macs(mask.shape[-2:]) + positions * unit.local.weight.numel() + unit.pooled.weight.numel()
    active = mask.detach().sum(dim=(1, 2, 3)) * block.macs.mask + dilated.sum(dim=(1, 2, 3)) * block.macs.dilated
    return active + fixed
