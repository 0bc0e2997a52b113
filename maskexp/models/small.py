"""A small convolutional network for small images, registered with timm as ``small_convnet``.

timm's networks end at stride 32, which leaves a 64-pixel image on 2×2 cells, each of which sees the whole image: no
mask could select anything there. This one has four stages at strides 1, 2, 4 and 8 whose cells see 3, 8, 18 and 38
pixels, and is trained from scratch in minutes on a CPU. It is ours and stands in no paper.
"""

from __future__ import annotations

from typing import Any

from timm.layers.classifier import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

# timm finds the configuration of a registered network under this name.
default_cfgs = generate_default_cfgs(
    {
        "small_convnet": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 64, 64),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "first_conv": "stages.0.1",
            "classifier": "head",
        }
    }
)


class SmallConvNet(nn.Module):
    """One 3×3 convolution with batch norm a stage, and max pooling between the stages.

    Args:
        num_classes: classes K; 0 for features alone.
        in_chans: channels of the images.
        widths: channels of the stages.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, widths: tuple[int, ...] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = widths[-1]
        before = (in_chans, *widths[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Identity() if stage == 0 else nn.MaxPool2d(2),
                    nn.Conv2d(inside, outside, kernel_size=3, padding=1, bias=False),
                    nn.BatchNorm2d(outside),
                    nn.ReLU(inplace=True),
                )
                for stage, (inside, outside) in enumerate(zip(before, widths, strict=True))
            )
        )
        self.feature_info = [
            {"num_chs": width, "reduction": 2**stage, "module": f"stages.{stage}"} for stage, width in enumerate(widths)
        ]
        self.pool, self.head = create_classifier(self.num_features, num_classes)

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        head: nn.Module = self.head
        return head

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last spatial map ``(B, C, H / 8, W / 8)`` of images ``(B, 3, H, W)``."""
        features: Tensor = self.stages(images)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of the last spatial map."""
        logits: Tensor = self.head(self.pool(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of normalised images ``(B, 3, H, W)``."""
        return self.forward_head(self.forward_features(images))


@register_model
def small_convnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the network; there are no pretrained weights."""
    network: nn.Module = build_model_with_cfg(
        SmallConvNet, "small_convnet", pretrained, feature_cfg={"flatten_sequential": True}, **kwargs
    )
    return network
