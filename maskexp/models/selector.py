"""The selector: a small segmentation network that gives each pixel a mask logit.

LR-ASPP on MobileNetV3: Howard et al., "Searching for MobileNetV3", ICCV 2019; COMET's selector.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Large_Weights, mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.models.segmentation.lraspp import LRASPPHead

from maskexp.models.backbones import HUB, Normalize, create_timm
from maskexp.serialization import load_tensors, require_weights

__all__ = ["IMAGENET", "LRASPP", "Selector", "enlarge"]

LRASPP = "lraspp_mobilenet_v3_large"
"""COMET's selector, torchvision's."""
IMAGENET = "imagenet"
"""The value of ``weights`` that asks for the hub's ImageNet weights of the selector's backbone."""


class Selector(nn.Module):
    """Mask logits of an image: a backbone and the head of LR-ASPP on two of its maps.

    MobileNetV3's batch norms move by 1 % a step, so that its masks in evaluation mean little before some 400 steps.

    Args:
        name: ``lraspp_mobilenet_v3_large`` (paper: MobileNetV3-Large, dilated, maps of stride 8 and 16), or timm's
            name of a network, or one of our variants, for the head on two of its maps (ours).
        weights: of the backbone: ``imagenet`` for the hub's, a path to a state dictionary with torchvision's or timm's
            names, or None (paper: from scratch; the released code starts from ImageNet, which was torchvision's
            default).
        image_size: (height, width) of the images, for networks that are built for one size.
        stride: of the finer of the two maps, for a network of timm; the other one has twice that stride. The logits
            have no finer detail.

    Raises:
        ValueError: if the network is unknown, has no maps of these strides, if ``lraspp_mobilenet_v3_large`` is asked
            for another stride than 8, or if the weights are those of another network.
    """

    def __init__(
        self,
        name: str = LRASPP,
        weights: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        stride: int = 8,
    ) -> None:
        super().__init__()
        self.backbone: Any
        self.normalize: Normalize
        if name == LRASPP:
            if stride != 8:
                raise ValueError(f"the stride of {LRASPP} is 8, not {stride}; choose a network of timm for another one")
            self._build_lraspp(weights)
        else:
            self._build_on_timm(name, weights, image_size, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Return mask logits ``(B, 1, H / stride, W / stride)`` for images ``(B, 3, H, W)`` in [0, 1]."""
        maps = self.backbone(self.normalize(images))
        low, high = (maps["low"], maps["high"]) if isinstance(maps, dict) else maps
        logits: Tensor = self.head({"low": low, "high": high})
        return logits

    def _build_lraspp(self, weights: str | None) -> None:
        found = MobileNet_V3_Large_Weights.IMAGENET1K_V1
        hub = found if weights == IMAGENET else None
        network = lraspp_mobilenet_v3_large(num_classes=1, weights_backbone=hub)
        if weights not in (None, IMAGENET):
            whole = mobilenet_v3_large(dilated=True)
            try:
                whole.load_state_dict(require_weights(load_tensors(weights), weights))
            except RuntimeError as error:
                raise ValueError(
                    f"the weights {weights!r} are none of torchvision's mobilenet_v3_large; give its state dictionary, "
                    f"{IMAGENET}, or null"
                ) from error
            network.backbone.load_state_dict(whole.features.state_dict())
        self.backbone, self.head = network.backbone, network.classifier
        statistics = found.transforms()
        self.normalize = Normalize(tuple(statistics.mean), tuple(statistics.std))

    def _build_on_timm(self, name: str, weights: str | None, image_size: tuple[int, int], stride: int) -> None:
        maps = _maps_of_strides(name, image_size, (stride, 2 * stride))
        weights = HUB if weights == IMAGENET else weights
        self.backbone = create_timm(name, weights, image_size, features_only=True, out_indices=maps)
        low, high = self.backbone.feature_info.channels()
        self.head = LRASPPHead(low, high, num_classes=1, inter_channels=128)
        self.normalize = Normalize.of(self.backbone)


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return mask logits ``(B, 1, H, W)`` in fp32, enlarged bilinearly, before the sigmoid."""
    with torch.autocast(device_type=logits.device.type, enabled=False):
        return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def _maps_of_strides(name: str, image_size: tuple[int, int], strides: tuple[int, int]) -> tuple[int, ...]:
    """Return which maps of a network have these strides, before any weights are read."""
    with torch.device("meta"):
        try:
            pyramid: Any = create_timm(name, None, image_size, features_only=True, out_indices=(-1,))
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"timm does not serve {name!r} as a feature pyramid: {error}") from error
    available = [stage["reduction"] for stage in pyramid.feature_info.info]
    if missing := [stride for stride in strides if stride not in available]:
        raise ValueError(
            f"the selector needs maps of stride {strides[0]} and {strides[1]}, but {name!r} has none of "
            f"{missing[0]}, only {', '.join(map(str, available))}"
        )
    return tuple(available.index(stride) for stride in strides)
