"""The selector: torchvision's LR-ASPP as COMET has it, and the same head on networks of timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from maskexp.models import Selector
from maskexp.models.selector import enlarge


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_as_many_as_in_the_released_code() -> None:
    selector = Selector()
    assert count(selector) == 3_218_138
    assert count(selector.backbone) == 2_971_952
    assert count(selector.head) == 246_186


@pytest.mark.parametrize(("size", "grid"), [((224, 224), (28, 28)), ((64, 64), (8, 8)), ((96, 64), (12, 8))])
def test_logits_are_torchvisions_before_their_enlargement(size: tuple[int, int], grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    selector = Selector().eval()
    theirs = lraspp_mobilenet_v3_large(num_classes=1, weights_backbone=None).eval()
    theirs.backbone, theirs.classifier = selector.backbone, selector.head
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        logits = selector(images)
        assert logits.shape == (1, 1, *grid)
        expected = theirs(selector.normalize(images))["out"]
    assert torch.allclose(enlarge(logits, size), expected, atol=1e-6)
    assert torch.equal(expected, F.interpolate(logits, size, mode="bilinear", align_corners=False))


def test_weights_of_a_file(tmp_path: Path) -> None:
    whole = mobilenet_v3_large(dilated=True)
    torch.save(whole.state_dict(), tmp_path / "mobilenet.pth")
    selector = Selector(weights=str(tmp_path / "mobilenet.pth"))
    for name, value in selector.backbone.state_dict().items():
        assert torch.equal(value, whole.features.state_dict()[name])


def test_a_network_of_timm_has_the_stride_asked_for() -> None:
    for stride in (2, 4):
        logits = Selector("small_convnet", stride=stride)(torch.rand(2, 3, 64, 64))
        assert logits.shape == (2, 1, 64 // stride, 64 // stride)


def test_missing_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="stride 8 and 16, but 'small_convnet' has none of 16, only 1, 2, 4, 8"):
        Selector("small_convnet")
    with pytest.raises(ValueError, match="is 8, not 4; choose a network of timm"):
        Selector(stride=4)
    with pytest.raises(ValueError, match="timm has no network called 'mobilenet'"):
        Selector("mobilenet")
    with pytest.raises(ValueError, match="stride 3 and 6, but 'test_resnet' has none of 3"):
        Selector("test_resnet", stride=3)


def test_the_mask_is_enlarged_in_full_precision() -> None:
    logits = torch.randn(1, 1, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert enlarge(logits, (8, 8)).dtype is torch.float32
