"""ResNets taken apart compute what they computed, and refuse blocks that no mask can act on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskexp.models.backbones import Normalize, create_timm
from maskexp.models.resnets import ResNet

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
TIMM = ["test_resnet", "resnet18", pytest.param("resnet50", marks=pytest.mark.slow), "resnet50_v1", "resnet26d"]
TORCHVISION = ["resnet18", "resnet50", pytest.param("resnext50_32x4d", marks=pytest.mark.slow)]


def give_statistics(network: nn.Module) -> None:
    """Fill norms with values, so that order and identity of layers matter."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            layer.running_mean.normal_(std=0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("training", [True, False])
def test_it_is_timm_s_network(name: str, training: bool) -> None:
    torch.manual_seed(0)
    plain = create_timm(name, None, (64, 64), num_classes=5)
    torch.manual_seed(0)
    network = ResNet(name, 5, weights=None, image_size=(64, 64))
    for model in (plain, network):
        torch.manual_seed(1)
        give_statistics(model)
        model.train(training)
    assert torch.equal(network(IMAGES), plain(Normalize.of(plain)(IMAGES)))


@pytest.mark.parametrize("name", TORCHVISION)
def test_it_is_torchvision_s_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = torchvision.models.get_model(name)
    give_statistics(plain)
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    network = ResNet(f"torchvision/{name}", 1000, weights=str(tmp_path / "weights.pt")).eval()
    assert torch.equal(network(IMAGES), plain.eval()(network.normalize(IMAGES)))
    assert ResNet(f"torchvision/{name}", 3, str(tmp_path / "weights.pt")).head.out_features == 3


@pytest.mark.parametrize("name", ["torchvision/resnet18", "test_resnet"])
def test_a_file_keeps_its_head_for_as_many_classes(name: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    plain = (
        create_timm(name, None, (64, 64), num_classes=7)
        if name == "test_resnet"
        else torchvision.models.get_model(name.removeprefix("torchvision/"), num_classes=7)
    )
    torch.save(plain.state_dict(), file)
    assert torch.equal(ResNet(name, 7, str(file)).head.weight, plain.get_parameter("fc.weight"))
    for classes in (3, 1000):
        network = ResNet(name, classes, str(file))
        assert network.head.out_features == classes
        assert torch.equal(network.blocks[0].first[0].weight, plain.get_parameter("layer1.0.conv1.weight"))


@pytest.mark.parametrize("name", ["test_resnet", "torchvision/resnet18", "resnet50_v1", "resnet26d"])
def test_multiply_accumulates_are_those_that_a_counter_sees(name: str) -> None:
    network = ResNet(name, 7, weights=None, image_size=(64, 64)).eval()
    features, macs = network.begin(IMAGES[:1]), network.fixed_macs((64, 64))
    for block in network.blocks:
        size, features = features.shape[-2:], block(features)
        mask = torch.ones(1, 1, *features.shape[-2:])
        macs += int(block.dilate(mask, size).sum()) * block.macs.dilated + int(mask.sum()) * block.macs.mask
        macs += block.shortcut_macs(mask.shape[-2:])
    with FlopCounterMode(display=False) as counter:
        network(IMAGES[:1])
    assert counter.get_total_flops() == 2 * macs


def test_a_frozen_network_learns_nothing_but_its_head() -> None:
    network = ResNet("test_resnet", 3, weights=None, image_size=(64, 64), frozen=True).train()
    before = [buffer.clone() for buffer in network.buffers()]
    network(IMAGES).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None] == [
        "head.weight",
        "head.bias",
    ]
    assert all(map(torch.equal, before, network.buffers()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_convnext", "'test_convnext' is no ResNet"),
        ("resnetv2_50", "'resnetv2_50' is no ResNet"),
        ("seresnet18", "'seresnet18' cannot be masked: its residual blocks have a SEModule"),
        ("res2net50_26w_4s", r"'res2net50_26w_4s' cannot be masked: .* have a ModuleList \(convs\)"),
        ("resnest14d", r"'resnest14d' cannot be masked: its residual blocks have a SplitAttn \(conv2\)"),
        ("skresnet18", r"'skresnet18' cannot be masked: its residual blocks have a SelectiveKernel \(conv1\)"),
        ("resnetaa34d", "'resnetaa34d' cannot be masked: its residual blocks have a AvgPool2d"),
        ("torchvision/resnet5", "torchvision has no ResNet called 'resnet5'; choose one of .*resnet50"),
        ("torchvision/vgg16", "torchvision has no ResNet called 'vgg16'"),
    ],
)
def test_other_networks_are_refused_by_name(name: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        ResNet(name, 2, weights=None)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="do not fit the network 'torchvision/resnet18'"):
        ResNet("torchvision/resnet18", 2, str(tmp_path / "weights.pt"))
