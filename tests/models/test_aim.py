"""AIM's network: shapes, masks, merging, and where gradients go (Alshami et al., ICCV 2025)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskexp.masking import upsample_nearest
from maskexp.methods import AIM
from maskexp.models import AIMNetwork
from maskexp.types import Prediction
from tests.defaults import network_defaults

DEFAULTS = network_defaults(AIM, AIMNetwork)
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def network(stages: int = 2, **options: object) -> AIMNetwork:
    torch.manual_seed(0)
    model = AIMNetwork("test_resnet", 3, weights=None, **DEFAULTS | {"stages": stages, "feature_width": 16} | options)  # type: ignore[arg-type]
    model.eval()
    with torch.no_grad():  # masks that are half full
        for estimator, features in zip(model.estimators, model.backbone(IMAGES)[::-1], strict=True):
            nn.init.normal_(estimator.logits.weight)
            estimator.logits.bias -= estimator(features).median()
    return model


def constant_masks(model: AIMNetwork, value: float) -> list[Tensor]:
    return [torch.full_like(mask, value) for mask in model(IMAGES).masks]


@pytest.mark.parametrize("training", [True, False])
def test_masks_are_binary_and_deepest_first(training: bool) -> None:
    prediction = network().train(training)(IMAGES)
    assert [tuple(mask.shape) for mask in prediction.masks] == [(2, 1, 2, 2), (2, 1, 4, 4)]
    assert prediction.attribution.shape == (2, 1, 4, 4)
    assert all(((mask == 0) | (mask == 1)).all() for mask in prediction.masks)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_full_masks_give_the_plain_pyramid_classifier(stages: int) -> None:
    model = network(stages)
    features = model.backbone(IMAGES)[::-1]
    fused = model.branches[0](features[0])
    for branch, feature in zip(list(model.branches)[1:], features[1:], strict=True):
        lateral = branch(feature)
        fused = lateral + upsample_nearest(fused, lateral.shape[-2:])
    plain = model.head(fused.mean(dim=(2, 3)))
    assert torch.equal(model(IMAGES, constant_masks(model, 1.0)).logits, plain)


@pytest.mark.parametrize("pooling", ["all", "active"])
def test_empty_masks_leave_only_the_bias(pooling: str) -> None:
    model = network(pooling=pooling)
    prediction = model(IMAGES, constant_masks(model, 0.0))
    assert torch.equal(prediction.features, torch.zeros_like(prediction.features))
    assert torch.equal(prediction.logits, model.head.bias.expand(2, -1))


def test_hidden_features_do_not_reach_the_logits() -> None:
    model = network()
    before = model(IMAGES)

    class Disturbed(nn.Module):
        def __init__(self, branch: nn.Module, mask: Tensor) -> None:
            super().__init__()
            self.branch, self.mask = branch, mask

        def forward(self, features: Tensor) -> Tensor:
            return torch.where(self.mask > 0, self.branch(features), torch.tensor(1e4))

    for stage, mask in enumerate(before.masks):
        assert 0 < mask.mean() < 1
        model.branches[stage] = Disturbed(model.branches[stage], mask)
    assert torch.equal(model(IMAGES).logits, before.logits)


def test_fused_map_is_zero_outside_the_merged_mask() -> None:
    prediction: Prediction = network()(IMAGES)
    hidden = (prediction.attribution == 0).expand_as(prediction.features)
    assert hidden.any()
    assert (prediction.features[hidden] == 0).all()


def test_classify_finishes_the_prediction() -> None:
    for pooling in ("all", "active"):
        model = network(pooling=pooling)
        prediction = model(IMAGES)
        assert torch.equal(model.classify(prediction.features), prediction.logits)


def test_one_stage_has_no_classifier_beside_the_merged_one() -> None:
    assert network(stages=1)(IMAGES).extras["stage_logits"] == ()


def test_gradients_reach_the_estimators_from_the_classification_alone() -> None:
    model = network().train()
    model(IMAGES).logits.square().sum().backward()
    for estimator in model.estimators:
        assert estimator.logits.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("stages", "least", "most"), [(1, 1.7e6, 2.1e6), (3, 3.3e6, 4.0e6)])
def test_overhead_over_convnext_tiny_is_the_published_one(stages: int, least: float, most: float) -> None:
    with torch.device("meta"):
        model = AIMNetwork("convnext_tiny", 2, weights=None, **DEFAULTS | {"stages": stages})
    backbone = sum(parameter.numel() for parameter in model.backbone_parameters())
    assert least <= sum(parameter.numel() for parameter in model.parameters()) - backbone <= most


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224", "test_vit"])
def test_any_feature_pyramid_will_do(name: str) -> None:
    model = AIMNetwork(name, 2, weights=None, image_size=(64, 64), **DEFAULTS | {"feature_width": 8}).eval()
    prediction = model(IMAGES)
    assert prediction.logits.shape == (2, 2)
    assert all(mask.shape[1] == 1 for mask in prediction.masks)


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="choose all or active"):
        network(pooling="max")


@pytest.mark.parametrize("kernel", [2, 0, -1])
def test_a_branch_that_would_change_the_grid_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"branch_kernel is {kernel}; only an odd one"):
        network(branch_kernel=kernel)


def test_a_branch_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="feature_width is 0"):
        AIMNetwork("test_resnet", 3, weights=None, **DEFAULTS | {"feature_width": 0})


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("value", [None, 0.0, 1.0])
def test_sparse_inference_equals_dense_inference(kernel: int, value: float | None) -> None:
    model = network(branch_kernel=kernel)
    masks = model(IMAGES).masks if value is None else constant_masks(model, value)
    dense = model(IMAGES, masks)
    model.sparse_inference()
    calls: list[nn.Module] = []
    for branch in model.branches:
        branch.register_forward_hook(lambda module, *_: calls.append(module))
    sparse = model(IMAGES, masks)
    assert not calls
    torch.testing.assert_close(sparse.features, dense.features)
    torch.testing.assert_close(sparse.logits, dense.logits)
    model.train()(IMAGES, masks)
    assert len(calls) == 2


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sparse_below is 2; .* must lie in \[0, 1\]"):
        network(sparse_below=2)
