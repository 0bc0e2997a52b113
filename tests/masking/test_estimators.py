"""AIM's mask estimator."""

from __future__ import annotations

import torch

from maskexp.masking import AIMEstimator, binarize


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
