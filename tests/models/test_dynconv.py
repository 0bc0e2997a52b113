"""DynConv's network (Verelst & Tuytelaars, CVPR 2020), what it costs, and sparse inference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maskexp.masking import mac_shares, network_budget_loss, upsample_nearest
from maskexp.methods import DynConv
from maskexp.models import DynConvNetwork
from tests.defaults import network_defaults

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
NAMES = ["test_resnet", "torchvision/resnet18", "resnet50_v1", pytest.param("resnext50_32x4d", marks=pytest.mark.slow)]


def network(name: str = "test_resnet", **options: object) -> DynConvNetwork:
    torch.manual_seed(0)
    model = DynConvNetwork(
        name, 3, weights=None, image_size=(64, 64), **network_defaults(DynConv, DynConvNetwork) | options
    )  # type: ignore[arg-type]
    with torch.no_grad():  # branches that count, masks that are neither full nor empty
        for block, unit in zip(model.resnet.blocks, model.units, strict=True):
            for layer in block.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    nn.init.uniform_(layer.weight, 0.5, 1.5)
                    nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(unit.local.weight, std=0.1)
    return model.eval()


def constant_masks(model: DynConvNetwork, value: float) -> list[Tensor]:
    return [torch.full_like(mask, value) for mask in model(IMAGES).masks]


def test_masks_are_the_thresholded_logits() -> None:
    model = network()
    logits: list[Tensor] = []
    for unit in model.units:
        unit.register_forward_hook(lambda _, __, output: logits.append(output))
    prediction = model(IMAGES)
    assert all(torch.equal(mask, (logit >= 0).float()) for mask, logit in zip(prediction.masks, logits, strict=True))
    assert 0 < torch.cat([mask.flatten() for mask in prediction.masks]).mean() < 1
    assert all(map(torch.equal, model(IMAGES).masks, prediction.masks))
    assert not all(map(torch.equal, model.train()(IMAGES).masks, prediction.masks))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_full_masks_give_the_plain_resnet(name: str, training: bool) -> None:
    model = network(name)
    masks = constant_masks(model, 1.0)
    model.train(training)
    assert torch.equal(model(IMAGES, masks).logits, model.resnet(IMAGES))


def test_empty_masks_leave_the_shortcuts() -> None:
    model = network()
    features = model.resnet.begin(IMAGES)
    for block in model.resnet.blocks:
        features = torch.relu(block.shortcut(features))
    assert torch.equal(model(IMAGES, constant_masks(model, 0.0)).features, features)


def test_attribution_is_the_share_of_blocks() -> None:
    prediction = network()(IMAGES)
    assert prediction.attribution is not None
    size = prediction.attribution.shape[-2:]
    expected = torch.stack([upsample_nearest(mask, size) for mask in prediction.masks]).mean(dim=0)
    assert torch.equal(prediction.attribution, expected)


@pytest.mark.parametrize("name", ["test_resnet", "resnet50_v1"])
def test_full_masks_cost_the_dense_network_and_the_mask_units(name: str) -> None:
    model = network(name)
    masks = constant_masks(model, 1.0)
    with FlopCounterMode(display=False) as counter:
        model.resnet(IMAGES[:1])
    units = sum(mask[0].numel() * 9 * unit.pooled.in_features for mask, unit in zip(masks, model.units, strict=True))
    pooled = sum(unit.pooled.in_features for unit in model.units)
    assert model(IMAGES, masks).extras["macs"].tolist() == [counter.get_total_flops() / 2 + units + pooled] * 2


def test_an_active_position_costs_its_neighbourhood_in_its_own_image() -> None:
    model = network()
    masks = constant_masks(model, 0.0)
    idle = model(IMAGES, masks).extras["macs"]
    masks[0][1, 0, 4, 4] = 1  # inside the map: nine positions of the first convolution
    macs = model.resnet.blocks[0].macs
    assert (model(IMAGES, masks).extras["macs"] - idle).tolist() == [0, 9 * macs.dilated + macs.mask]


def test_classify_finishes_the_prediction() -> None:
    model = network()
    prediction = model(IMAGES)
    assert torch.equal(model.classify(prediction.features), prediction.logits)


def test_the_budget_reaches_the_mask_units() -> None:
    model = network().train()
    prediction = model(IMAGES)
    _, share = mac_shares(prediction.masks, prediction.extras["dilated"], model.block_macs)
    network_budget_loss(share, 0.0).backward()
    for unit in model.units:
        assert unit.local.weight.grad.abs().sum() > 0
        assert unit.pooled.weight.grad.abs().sum() > 0
    assert not any(wide.requires_grad for wide in prediction.extras["dilated"])


def test_a_frozen_backbone_leaves_units_and_head() -> None:
    model = network(frozen_backbone=True).train()
    model(IMAGES).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone_parameters())
    assert all(unit.local.weight.grad is not None for unit in model.units)
    assert not model.resnet.training
    assert model.binarizer.training


@pytest.mark.parametrize("name", NAMES)
def test_sparse_inference_equals_dense_inference(name: str) -> None:
    model = network(name)
    with torch.no_grad():
        for masks in (model(IMAGES).masks, constant_masks(model, 0.0), constant_masks(model, 1.0)):
            model.sparse_inference(0)
            dense = model(IMAGES, masks)
            model.sparse_inference()
            sparse = model(IMAGES, masks)
            scale = dense.features.abs().max().item()
            torch.testing.assert_close(sparse.features, dense.features, rtol=1e-4, atol=1e-4 * scale)
            torch.testing.assert_close(sparse.logits, dense.logits, rtol=1e-4, atol=1e-4 * scale)
            assert torch.equal(sparse.extras["macs"], dense.extras["macs"])


def test_sparse_inference_computes_less() -> None:
    model = network(sparse_below=1.0)
    masks = constant_masks(model, 0.0)
    masks[0][0, 0, 4, 4] = 1
    with FlopCounterMode(display=False) as sparse:
        model(IMAGES, masks)
    model.sparse_inference(0)
    with FlopCounterMode(display=False) as dense:
        model(IMAGES, masks)
    assert sparse.get_total_flops() < dense.get_total_flops() / 2


@pytest.mark.parametrize("name", ["test_resnet", "torchvision/resnet18", "resnet50_v1"])
def test_sparse_inference_equals_dense_inference_on_images_of_odd_sizes(name: str) -> None:
    model, images = network(name), torch.rand(2, 3, 71, 57, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        dense = model(images)
        model.sparse_inference()
        sparse = model(images, dense.masks)
    scale = dense.features.abs().max().item()
    torch.testing.assert_close(sparse.features, dense.features, rtol=1e-4, atol=1e-4 * scale)
    assert torch.equal(sparse.extras["macs"], dense.extras["macs"])


def test_sparse_inference_dilates_each_mask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(sparse_below=1.0)
    dilate, calls = F.conv_transpose2d, list[Tensor]()

    def counted(mask: Tensor, *args: Any, **options: Any) -> Tensor:
        calls.append(mask)
        return dilate(mask, *args, **options)

    monkeypatch.setattr(F, "conv_transpose2d", counted)
    model(IMAGES)
    assert len(calls) == len(model.resnet.blocks)


def test_only_blocks_below_the_share_are_sparse_and_only_in_evaluation() -> None:
    model = network(sparse_below=0.5)
    masks = constant_masks(model, 1.0)
    masks[1].zero_()
    calls: list[int] = []
    for number, block in enumerate(model.resnet.blocks):
        block.first.register_forward_hook(lambda *_, number=number: calls.append(number))
    model(IMAGES, masks)
    assert calls == [0, 2, 3]
    calls.clear()
    model.train()(IMAGES, masks)
    assert calls == [0, 1, 2, 3]


@pytest.mark.parametrize(("below", "sparse"), [(0.31, False), (0.32, True)])
def test_the_share_is_that_of_the_block_s_macs(below: float, sparse: bool) -> None:
    model = network(sparse_below=below)
    masks = constant_masks(model, 1.0)
    masks[0].zero_()
    masks[0][:, 0, 1::4, 1::4] = 1  # a sixteenth of the positions, nine sixteenths of the dilated ones
    assert model.resnet.blocks[0].macs.dilated == model.resnet.blocks[0].macs.mask  # so that they cost 10 / 32
    calls: list[nn.Module] = []
    model.resnet.blocks[0].first.register_forward_hook(lambda module, *_: calls.append(module))
    model(IMAGES, masks)
    assert (not calls) == sparse


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"sparse_below is .* must lie in \[0, 1\]"):
        network(sparse_below=share)


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_it_runs_in_half_precision_throughout(below: float) -> None:
    prediction = network(sparse_below=below).bfloat16()(IMAGES)
    assert prediction.logits.dtype == torch.bfloat16
    assert prediction.masks[0].dtype == torch.float32
