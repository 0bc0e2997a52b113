"""A small residual network for small pictures, registered with timm as ``small_resnet``.

timm's networks end at stride 32, which leaves a 64-pixel picture on 2×2 cells, each of which sees the whole picture: no
mask could select anything there. This one has three stages at strides 2, 4 and 8 and is trained from scratch in minutes
on a CPU. It is ours and stands in no paper.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn

_ARCHITECTURE = ByoModelCfg(
    blocks=(
        ByoBlockCfg("basic", d=1, c=32, s=1),
        ByoBlockCfg("basic", d=1, c=64, s=2),
        ByoBlockCfg("basic", d=1, c=128, s=2),
    ),
    stem_chs=32,
    stem_type="3x3",
    stem_pool="",
)

# timm finds the configuration of a registered network under this name.
default_cfgs = generate_default_cfgs(
    {
        "small_resnet": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 64, 64),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "first_conv": "stem.conv",
            "classifier": "head.fc",
        }
    }
)


@register_model
def small_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the network; there are no pretrained weights."""
    network: nn.Module = build_model_with_cfg(
        ByobNet,
        "small_resnet",
        pretrained,
        model_cfg=_ARCHITECTURE,
        feature_cfg={"flatten_sequential": True},
        **kwargs,
    )
    return network
