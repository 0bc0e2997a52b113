"""Accuracy without the pixels that were put first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.metrics import PixelFidelity, control_attribution
from maskexp.metrics.functional import pixel_fidelity

SIDE, IMAGES = 10, 40
LABEL = torch.arange(IMAGES) % 2


def lit_corner() -> tuple[Tensor, Tensor]:
    """Images whose class is the colour of their upper left 2×2 pixels, and the map of these pixels."""
    images = torch.full((IMAGES, 2, SIDE, SIDE), 0.1)
    images[torch.arange(IMAGES), LABEL, :2, :2] = 1.0
    where = torch.zeros(IMAGES, 1, SIDE, SIDE)
    where[..., :2, :2] = 1
    return images, where


def black(images: Tensor, visible: Tensor) -> Tensor:
    """The brighter channel, of what a black fill leaves; class 0 if both are alike."""
    return (images * visible).amax(dim=(2, 3))


def test_the_right_pixels_and_only_they_matter() -> None:
    images, where = lit_corner()
    right = pixel_fidelity(black, images, where, LABEL, shares=[0, 0.02, 0.04])
    assert {name: value.item() for name, value in right.items()} == {
        "acc_removed_00": 1.0,
        "acc_removed_02": 1.0,  # two of the four pixels are left
        "acc_removed_04": 0.5,
    }
    wrong = pixel_fidelity(black, images, 1 - where, LABEL, shares=[0.04, 0.2])
    assert {value.item() for value in wrong.values()} == {1.0}


def test_keeping_is_the_other_way_round() -> None:
    images, where = lit_corner()
    kept = pixel_fidelity(black, images, where, LABEL, shares=[0, 0.04], protocol="keep")
    assert {name: value.item() for name, value in kept.items()} == {"acc_kept_00": 0.5, "acc_kept_04": 1.0}
    assert PixelFidelity(protocol="keep").higher_is_better
    assert not PixelFidelity().higher_is_better


def test_random_removal_seldom_hits_all_four_pixels() -> None:
    images, where = lit_corner()
    random = control_attribution("random", where.bool(), torch.arange(IMAGES))
    assert pixel_fidelity(black, images, random, LABEL, shares=[0.2])["acc_removed_20"] > 0.95


def test_images_of_a_batch_do_not_share_their_pixels() -> None:
    """A threshold over the whole batch would remove all of the second image and nothing of the first."""
    images, where = lit_corner()
    scaled = where * torch.where(torch.arange(IMAGES) < IMAGES // 2, 1.0, 0.1)[:, None, None, None]
    together = pixel_fidelity(black, images, scaled, LABEL, shares=[0.04])
    assert together["acc_removed_04"] == 0.5


def test_without_images_the_classifier_is_not_called() -> None:
    def never(images: Tensor, visible: Tensor) -> Tensor:
        raise AssertionError("called")

    metric = PixelFidelity()
    metric.update(never, torch.zeros(0, 3, 4, 4), torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64))
    assert metric.total == 0


def test_bad_arguments_are_refused() -> None:
    images, where = lit_corner()
    with pytest.raises(ValueError, match="'remove' or 'keep'"):
        PixelFidelity(protocol="blur")  # type: ignore[arg-type]
    for shares in ([], [0.1, 0.1], [2.0]):
        with pytest.raises(ValueError, match="different numbers"):
            PixelFidelity(shares)
    with pytest.raises(ValueError, match="resize the attribution"):
        PixelFidelity().update(black, images, where[..., :5], LABEL)
    with pytest.raises(ValueError, match="do not fit"):
        PixelFidelity().update(black, images, where, LABEL[:3])
