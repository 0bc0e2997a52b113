"""Union of masks of several grids."""

from __future__ import annotations

import pytest
import torch

from maskexp.masking import average_masks, intersect_masks, merge_masks, upsample_nearest


def test_nearest_upsampling_keeps_a_mask_binary() -> None:
    mask = (torch.rand(2, 1, 7, 7) > 0.5).float()
    up = upsample_nearest(mask, (14, 14))
    assert torch.equal(up[..., ::2, ::2], mask)
    assert torch.equal(up[..., 1::2, 1::2], mask)


def test_merged_mask_is_the_union_on_the_finest_grid() -> None:
    coarse, fine = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    coarse[0, 0, 0, 0] = 1
    fine[0, 0, 3, 3] = 1
    merged = merge_masks([coarse, fine])
    assert merged.shape == (1, 1, 4, 4)
    assert merged.sum() == 5
    for mask in (coarse, fine):
        assert (merged >= upsample_nearest(mask, (4, 4))).all()


def test_nothing_to_merge_is_refused() -> None:
    with pytest.raises(ValueError, match="no masks to merge"):
        merge_masks([])


def test_intersection_keeps_what_every_mask_keeps() -> None:
    coarse, fine = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]]])
    expected = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]]])
    assert torch.equal(intersect_masks([coarse, fine]), expected)
    assert torch.equal(intersect_masks([fine, coarse]), expected)


def test_an_intersection_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no masks to merge"):
        intersect_masks([])


def test_average_says_how_many_masks_keep_a_position() -> None:
    coarse, fine = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]])
    assert torch.equal(average_masks([coarse, fine]), torch.tensor([[[[1.0, 0.5, 0.5, 0.0]]]]))
