"""Exactly the share of each image, whatever the values."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics.functional import attribution_rank, most_attributed
from maskexp.metrics.functional.draws import uniform_maps


@pytest.mark.parametrize(("share", "pixels"), [(0.05, 2509), (0.10, 5018), (0.20, 10035), (0, 0), (1, 224 * 224)])
def test_number_of_pixels_at_224(share: float, pixels: int) -> None:
    maps = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    maps[1] = torch.where(maps[1] > 0.85, maps[1], 0)  # as a Grad-CAM behind its ReLU: a quantile would take everything
    assert most_attributed(maps, share).flatten(1).sum(dim=1).tolist() == [pixels, pixels]


def test_images_are_not_pooled() -> None:
    maps = torch.stack([torch.linspace(0, 0.1, 16), torch.linspace(0.9, 1, 16)]).view(2, 1, 4, 4)
    selected = most_attributed(maps, 0.25).flatten(1)
    assert selected.tolist() == [[False] * 12 + [True] * 4] * 2


def test_no_pixel_that_is_left_is_above_one_that_is_taken() -> None:
    maps = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(1)) - 0.5
    for image, selected in zip(maps, most_attributed(maps, 0.3)[:, 0], strict=True):
        assert image[selected].min() >= image[~selected].max()


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
def test_of_equal_pixels_the_first_are_taken(value: float) -> None:
    assert most_attributed(torch.full((1, 1, 3, 4), value), 0.25).flatten().tolist() == [True] * 3 + [False] * 9


def test_rank_is_a_permutation_and_shares_are_nested() -> None:
    maps = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    rank = attribution_rank(maps)
    assert (rank.shape, rank.dtype) == (maps.shape, torch.int64)
    assert rank.flatten(1).sort(dim=1).values.tolist() == [list(range(25))] * 2
    assert (most_attributed(maps, 0.2) <= most_attributed(maps, 0.4)).all()


def test_no_images() -> None:
    assert most_attributed(torch.zeros(0, 1, 4, 4), 0.5).shape == (0, 1, 4, 4)
    assert uniform_maps(torch.tensor([], dtype=torch.int64), (4, 4), 0).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_bad_shares_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"different numbers in \[0, 1\]"):
        most_attributed(torch.zeros(1, 4, 4), share)


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        most_attributed(torch.full((1, 4, 4), torch.nan), 0.5)
