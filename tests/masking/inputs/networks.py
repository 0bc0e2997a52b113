"""Networks with random weights that are sensitive to their input, built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import timm
import torch
import torchvision.models
from torch import Tensor, nn

from maskexp.models import Classifier

SIZE = 64


def _torchvision(name: str, **options: object) -> nn.Module:
    network: nn.Module = getattr(torchvision.models, name)(weights=None, **options)
    return network


_CLASSES = {"num_classes": 10}

FAST: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet18": partial(_torchvision, "resnet18", **_CLASSES),
    "torchvision mobilenet_v2": partial(_torchvision, "mobilenet_v2", **_CLASSES),
    "torchvision mobilenet_v3_small": partial(_torchvision, "mobilenet_v3_small", **_CLASSES),
    "torchvision squeezenet1_1": partial(_torchvision, "squeezenet1_1", **_CLASSES),
    "timm tf_efficientnet_lite0": partial(timm.create_model, "tf_efficientnet_lite0", **_CLASSES),
    "timm convnext_atto": partial(timm.create_model, "convnext_atto", **_CLASSES),
    "timm test_resnet": partial(timm.create_model, "test_resnet", **_CLASSES),
    "timm test_convnext": partial(timm.create_model, "test_convnext", **_CLASSES),
    "timm test_efficientnet": partial(timm.create_model, "test_efficientnet", **_CLASSES),
    "our small_convnet": partial(Classifier, "small_convnet", 10, None, (SIZE, SIZE)),
    "our test_resnet": partial(Classifier, "test_resnet", 10, None, (SIZE, SIZE)),
}

SLOW: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet50": partial(_torchvision, "resnet50", **_CLASSES),
    "torchvision dilated resnet50": partial(
        _torchvision, "resnet50", replace_stride_with_dilation=[False, True, True], **_CLASSES
    ),
    "torchvision resnext50_32x4d": partial(_torchvision, "resnext50_32x4d", **_CLASSES),
    "torchvision wide_resnet50_2": partial(_torchvision, "wide_resnet50_2", **_CLASSES),
    "torchvision densenet121": partial(_torchvision, "densenet121", **_CLASSES),
    "torchvision efficientnet_b0": partial(_torchvision, "efficientnet_b0", **_CLASSES),
    "torchvision mobilenet_v3_large": partial(_torchvision, "mobilenet_v3_large", **_CLASSES),
    "torchvision alexnet": partial(_torchvision, "alexnet", **_CLASSES),
    "torchvision convnext_tiny": partial(_torchvision, "convnext_tiny", **_CLASSES),
    "torchvision regnet_y_400mf": partial(_torchvision, "regnet_y_400mf", **_CLASSES),
    **{
        f"timm {name}": partial(timm.create_model, name, **_CLASSES)
        for name in (
            "resnet18",
            "resnet50",
            "resnet50d",
            "resnetblur50",
            "resnetv2_50",
            "seresnet50",
            "resnext50_32x4d",
            "wide_resnet50_2",
            "densenet121",
            "efficientnet_b0",
            "mobilenetv2_100",
            "mobilenetv3_large_100",
            "convnextv2_atto",
            "res2net50_26w_4s",
            "ghostnet_100",
        )
    },
}


@cache
def network(name: str) -> nn.Module:
    """Return a network in evaluation mode, frozen."""
    torch.manual_seed(0)
    made = (FAST | SLOW)[name]()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            module.momentum = 1.0
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
    # Without statistics of its own features, a deep network with random weights says the same to every image.
    made.requires_grad_(False).train()(torch.rand(8, 3, SIZE, SIZE))
    return made.eval()


def logits(output: object) -> Tensor:
    """Return the logits of a plain network or of one of ours."""
    found: Tensor = output if isinstance(output, Tensor) else output.logits  # type: ignore[attr-defined]
    return found


def empty_logits(made: nn.Module, batch: int) -> Tensor:
    """Return what the network's own head makes of a batch of pooled maps of zeros."""
    inner = made.network if isinstance(made, Classifier) else made
    if hasattr(inner, "forward_head"):
        return inner.forward_head(torch.zeros(batch, inner.num_features, 2, 2))  # type: ignore[operator, arg-type]
    if isinstance(inner, torchvision.models.SqueezeNet):
        return torch.zeros(batch, 10)  # its head is a convolution in front of the pooling
    if hasattr(inner, "fc"):
        return inner.fc.bias.expand(batch, -1)  # type: ignore[union-attr, index]
    if isinstance(inner, torchvision.models.ConvNeXt):
        return inner.classifier(torch.zeros(batch, 768, 1, 1))
    linear = next(module for module in inner.classifier.modules() if isinstance(module, nn.Linear))  # type: ignore[union-attr]
    return inner.classifier(torch.zeros(batch, linear.in_features))  # type: ignore[operator]
