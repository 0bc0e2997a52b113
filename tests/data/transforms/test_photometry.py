from __future__ import annotations

import torch
from torchvision.transforms.v2 import functional as F

from maskexp.data.transforms.photometry import jitter


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 6, 5, generator=torch.Generator().manual_seed(0))


def test_no_strength_changes_nothing_and_draws_nothing() -> None:
    state = torch.get_rng_state()

    assert jitter(images(), 0.0) is not None
    assert torch.equal(jitter(images(), 0.0), images())
    assert torch.equal(torch.get_rng_state(), state)


def test_each_step_is_torchvisions() -> None:
    torch.manual_seed(3)
    factors = 1 + 0.4 * (2 * torch.rand(3, 4, 1, 1, 1) - 1)
    torch.manual_seed(3)

    changed = jitter(images(), 0.4)

    for image, result, (b, c, s) in zip(images(), changed, factors.flatten(1).T, strict=True):
        expected = F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(image, float(b)), float(c)), float(s))
        torch.testing.assert_close(result, expected, atol=2e-4, rtol=0)  # torchvision rounds the luma weights


def test_images_get_their_own_factors_and_stay_in_range() -> None:
    torch.manual_seed(0)
    same = images(1).expand(8, -1, -1, -1)

    changed = jitter(same, 1.0)

    assert changed.min() >= 0
    assert changed.max() <= 1
    assert len({tuple(result.flatten().tolist()) for result in changed}) == 8
