"""The bottom-up network: its masks act on the stages that follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskexp.masking import upsample_nearest
from maskexp.methods import BottomUp
from maskexp.models import Backbone, BottomUpNetwork
from tests.defaults import network_defaults

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def network(stages: int = 2, **options: object) -> BottomUpNetwork:
    torch.manual_seed(0)
    model = BottomUpNetwork(
        "test_resnet",
        3,
        weights=None,
        image_size=(64, 64),
        **network_defaults(BottomUp, BottomUpNetwork) | {"stages": stages} | options,
    )  # type: ignore[arg-type]
    model.eval()
    with torch.no_grad():  # masks that are half full
        for estimator, features in zip(model.estimators, model.backbone(IMAGES), strict=True):
            nn.init.normal_(estimator.logits.weight)
            estimator.logits.bias -= estimator(features).median()
    return model


def constant_masks(model: BottomUpNetwork, *values: float) -> list[Tensor]:
    masks = model(IMAGES).masks
    return [torch.full_like(mask, value) for mask, value in zip(masks, values, strict=True)]


@pytest.mark.parametrize("training", [True, False])
def test_masks_are_binary_and_deepest_first(training: bool) -> None:
    prediction = network().train(training)(IMAGES)
    assert [tuple(mask.shape) for mask in prediction.masks] == [(2, 1, 2, 2), (2, 1, 4, 4)]
    assert all(((mask == 0) | (mask == 1)).all() for mask in prediction.masks)


def test_attribution_is_what_every_mask_keeps() -> None:
    prediction = network()(IMAGES)
    deep, shallow = prediction.masks
    assert torch.equal(prediction.attribution, upsample_nearest(deep, (4, 4)) * shallow)
    assert prediction.interpolation == "nearest"


@pytest.mark.parametrize("pooling", ["all", "active"])
def test_full_masks_give_the_plain_classifier(pooling: str) -> None:
    model = network(pooling=pooling)
    plain: Backbone = model.backbone
    features = plain(IMAGES)[-1]
    pooled = features.mean(dim=(2, 3)) if pooling == "all" else features.sum(dim=(2, 3)) / 4
    assert torch.equal(model(IMAGES, constant_masks(model, 1, 1)).logits, model.head(pooled))


def test_an_empty_deepest_mask_leaves_only_the_bias() -> None:
    model = network()
    prediction = model(IMAGES, constant_masks(model, 0, 1))
    assert torch.equal(prediction.features, torch.zeros_like(prediction.features))
    assert torch.equal(prediction.logits, model.head.bias.expand(2, -1))


def test_the_next_stage_sees_nothing_of_what_is_hidden() -> None:
    model = network()
    masks = constant_masks(model, 1, 0)
    assert torch.equal(model(IMAGES, masks).logits, model(1 - IMAGES, masks).logits)


def test_classify_finishes_the_prediction() -> None:
    for pooling in ("all", "active"):
        model = network(pooling=pooling)
        prediction = model(IMAGES)
        assert torch.equal(model.classify(prediction.features), prediction.logits)


def test_gradients_reach_the_estimators_from_the_classification_alone() -> None:
    model = network().train()
    model(IMAGES).logits.square().sum().backward()
    for estimator in model.estimators:
        assert estimator.logits.weight.grad.abs().sum() > 0


def test_a_frozen_backbone_still_teaches_the_first_estimator() -> None:
    model = network(frozen_backbone=True).train()
    model(IMAGES).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone_parameters())
    assert model.estimators[0].logits.weight.grad.abs().sum() > 0


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="choose all or active"):
        network(pooling="max")


def test_it_runs_in_half_precision_throughout() -> None:
    prediction = network().bfloat16()(IMAGES)
    assert prediction.logits.dtype == torch.bfloat16
    assert prediction.masks[0].dtype == torch.float32
