"""B-cos networks equal the authors' own, and are exactly what their contributions say they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bcos.models import resnet
from bcos.modules import norms
from torch import nn

from maskexp.models import BCosNetwork


def made(name: str = "small_convnet", classes: int = 5, **options: Any) -> BCosNetwork:
    torch.manual_seed(0)
    return BCosNetwork(name, classes, image_size=(64, 64), **{"encoding": "inverse", "b": 2.0, **options})


def trained_statistics(network: nn.Module) -> nn.Module:
    """Give batch norms the statistics of some images, so that deep layers have values to tell apart."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(4, 3, 64, 64, dtype=next(network.parameters()).dtype))
    return network.eval()


def test_the_converted_resnet18_is_that_of_the_package() -> None:
    ours = trained_statistics(made("resnet18", 9).double())
    assert sum(parameter.numel() for parameter in ours.parameters()) == 11_185_728
    norm = norms.NoBias(norms.BatchNormUncentered2d)
    theirs = resnet.resnet18(num_classes=9, norm_layer=norm).double().eval()
    renamed = {k.replace("network.", "").replace("head.", "fc."): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    seen = torch.cat([images, 1 - images], dim=1)
    assert torch.equal(ours(images).logits, theirs(seen))
    seen.requires_grad_(True)
    with theirs.explanation_mode():
        (row,) = torch.autograd.grad(theirs(seen)[:, 2].sum(), seen)
    expected = (row * seen).sum(dim=1, keepdim=True)
    found = ours.contributions(images, torch.tensor([2, 2]))  # type: ignore[operator]
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("encoding", ["inverse", "normalized"])
@pytest.mark.parametrize("name", ["small_convnet", "test_resnet"])
def test_contributions_add_up_to_the_logit_without_its_constant(name: str, encoding: str) -> None:
    network = trained_statistics(made(name, encoding=encoding).double())
    images, target = torch.rand(3, 3, 64, 64, dtype=torch.float64), torch.tensor([4, 0, 2])
    logit = network(images).logits.gather(1, target[:, None])[:, 0]
    found = network.contributions(images, target)  # type: ignore[operator]
    assert network.logit_bias == -math.log(4)
    assert torch.allclose(found.sum(dim=(1, 2, 3)), logit + math.log(4), rtol=1e-12, atol=1e-15)
    assert (found < 0).any(), "contributions are signed"


def test_the_gradient_of_the_logit_is_another_map() -> None:
    """It has nearly the same sum, since the layers are homogeneous, so that the sum alone proves little."""
    network = trained_statistics(made().double())
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    seen = network.encode(images).requires_grad_(True)  # type: ignore[operator]
    logit = network.head(network.network.forward_features(seen)).mean(dim=(2, 3))[:, 0]  # type: ignore[operator, union-attr]
    (row,) = torch.autograd.grad(logit.sum(), seen)
    found = network.contributions(images, torch.zeros(2, dtype=torch.int64))  # type: ignore[operator]
    assert ((row * seen).sum(dim=1, keepdim=True) - found).abs().max() > 0.1 * found.abs().max()


def test_the_first_layer_sees_colours_and_their_inverse() -> None:
    images = torch.rand(2, 3, 64, 64)
    seen = made().encode(images)
    assert seen.shape == (2, 6, 64, 64)
    assert torch.equal(seen[:, :3] + seen[:, 3:], torch.ones_like(images))
    assert made(encoding="normalized").encode(images).shape == (2, 3, 64, 64)


def test_explanations_leave_the_network_as_it_was_even_in_inference_mode() -> None:
    network = made().eval()
    with torch.inference_mode():
        network.contributions(torch.rand(1, 3, 64, 64), torch.tensor([1]))
    images = torch.rand(2, 3, 64, 64)
    loss = network(images).logits.sum()
    loss.backward()
    assert not any(getattr(module, "detach", False) is True for module in network.modules())
    assert network.head.linear.weight.grad is not None


@pytest.mark.parametrize(
    ("name", "layer"),
    [("convnext_tiny", "LayerNorm2d"), ("efficientnet_b0", "Sigmoid"), ("tf_efficientnet_lite0", "Conv2dSame")],
)
def test_a_network_that_cannot_be_converted_is_refused_by_its_layer(name: str, layer: str) -> None:
    with pytest.raises(ValueError, match=rf"B-cos cannot convert '{name}', which has a layer {layer}; choose a"):
        made(name)


def test_a_nonlinearity_beside_the_layers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskexp.models.small import SmallConvNet

    plain = SmallConvNet.forward_features
    monkeypatch.setattr(SmallConvNet, "forward_features", lambda self, images: plain(self, images).tanh() ** 2)
    with pytest.raises(ValueError, match="its forward pass is not linear beside its layers"):
        made()


def test_weights_of_the_package_are_read(tmp_path: Path) -> None:
    norm = norms.NoBias(norms.BatchNormUncentered2d)
    theirs = resnet.resnet18(num_classes=5, norm_layer=norm)
    torch.save(theirs.state_dict(), tmp_path / "bcos.pt")
    ours = made("resnet18", weights=str(tmp_path / "bcos.pt"))
    assert torch.equal(ours.head.linear.weight, theirs.fc.linear.weight)
    assert torch.equal(ours.network.conv1.linear.weight, theirs.conv1.linear.weight)
    torch.save(resnet.resnet18(num_classes=5).state_dict(), tmp_path / "other.pt")  # another norm
    with pytest.raises(ValueError, match=r"does not hold the weights of this B-cos network: 'bn1\."):
        made("resnet18", weights=str(tmp_path / "other.pt"))
    with pytest.raises(ValueError, match="timm's hub has no B-cos networks"):
        made("resnet18", weights="timm")
