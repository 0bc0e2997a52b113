"""Mask estimators of AIM, DynConv and CAD."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from maskexp.masking import AIMEstimator, CADEstimator, DynConvEstimator, binarize
from maskexp.masking.estimators import stage_estimators


def test_logits_lie_on_the_grid_of_the_features() -> None:
    for channels in (1, 2):
        assert AIMEstimator(16, 8, logit_channels=channels)(torch.randn(2, 16, 7, 5)).shape == (2, channels, 7, 5)


def test_initial_bias_starts_with_active_masks() -> None:
    torch.manual_seed(0)
    for channels in (1, 2):
        mask = binarize(AIMEstimator(16, 8, logit_channels=channels, initial_bias=3.0)(torch.randn(8, 16, 14, 14)))
        assert mask.mean() > 0.9


def test_global_branch_lets_one_corner_reach_the_other() -> None:
    torch.manual_seed(0)
    features = torch.zeros(1, 4, 64, 64, requires_grad=True)
    for global_branch in (True, False):
        estimator = AIMEstimator(4, 8, blocks=1, global_branch=global_branch).eval()
        (gradient,) = torch.autograd.grad(estimator(features + 1)[0, 0, 0, 0], features)
        assert (gradient[..., -1, -1].abs().sum() > 0) == global_branch


def test_stages_have_estimators_of_a_width_of_their_own() -> None:
    estimators = stage_estimators([512, 16], 4, 2, False, 2, 3.0)
    assert [estimator.logits.in_channels for estimator in estimators] == [128, 8]  # type: ignore[union-attr]
    assert [len(estimator.blocks) for estimator in estimators] == [2, 2]  # type: ignore[arg-type]
    assert estimators[0].logits.bias.tolist() == [0.0, 3.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reduction", "blocks", "bias", "message"),
    [
        (0, 3, 2.0, "estimator_reduction is 0; .* give at least 1"),
        (-4, 3, 2.0, "estimator_reduction is -4; .* give at least 1"),
        (8, -1, 2.0, "estimator_blocks is -1; give at least 0"),
        (8, 3, float("nan"), "initial_bias is nan; it must be a finite number"),
    ],
)
def test_impossible_estimators_are_refused(reduction: int, blocks: int, bias: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage_estimators([16], reduction, blocks, True, 1, bias)


def test_dynconv_adds_a_logit_of_the_whole_map_to_each_position_s() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 4, 7, 8)
    for stride, size in ((1, (7, 8)), (2, (4, 4))):
        estimator = DynConvEstimator(4, stride)
        logits = estimator(features)
        assert logits.shape == (2, 1, *size)
        pooled = features.mean(dim=(2, 3)) @ estimator.pooled.weight.T + estimator.pooled.bias
        torch.testing.assert_close(logits, estimator.local(features) + pooled.view(2, 1, 1, 1))


ESTIMATORS = [AIMEstimator(4, 8), AIMEstimator(4, 8, global_branch=False), DynConvEstimator(4), CADEstimator(4)]
KINDS = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["aim", "aim-local", "dynconv", "cad"])


@KINDS
def test_logits_are_float32_under_autocast(estimator: nn.Module) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = deepcopy(estimator)(torch.randn(2, 4, 8, 8).bfloat16())
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())  # they are no bf16 numbers in a wider type


@KINDS
@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_logits_are_float32_at_least(estimator: nn.Module, dtype: torch.dtype, expected: torch.dtype) -> None:
    network = deepcopy(estimator).to(dtype)
    logits = network(torch.randn(2, 4, 8, 8, dtype=dtype))
    assert logits.dtype == expected
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_cad_gives_two_logits_for_each_cell_of_half_the_resolution() -> None:
    estimator = CADEstimator(16, widths=(8, 4, 4))
    assert estimator(torch.randn(2, 16, 8, 6)).shape == (2, 2, 4, 3)
    assert estimator(torch.randn(2, 16, 7, 5)).shape == (2, 2, 4, 3)
    assert [layer.out_channels for layer in CADEstimator(512) if isinstance(layer, torch.nn.Conv2d)] == [128, 64, 64, 2]
