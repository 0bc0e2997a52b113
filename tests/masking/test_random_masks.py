"""Random masks: cells and bumps by hand."""

from __future__ import annotations

import math

import pytest
import torch

from maskexp.masking.random_masks import BernoulliMasks, RadialMasks, radial_map


def test_cells_are_whole_and_visible_half_of_the_time() -> None:
    torch.manual_seed(0)
    masks = BernoulliMasks(cell=4).draw(torch.rand(500, 3, 16, 24))
    assert masks.shape == (500, 1, 16, 24)
    cells = masks.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert torch.equal(cells.amin(dim=4), cells.amax(dim=4))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert masks.mean().item() == pytest.approx(0.5, abs=0.01)
    relaxed = BernoulliMasks(cell=1, temperature=0.1).draw(torch.rand(8, 3, 16, 16))
    assert len(relaxed.unique()) > 100


def test_cells_that_do_not_fill_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="cells of 5 pixels do not fill an image of 16 × 24 pixels"):
        BernoulliMasks(cell=5).draw(torch.rand(1, 3, 16, 24))


def test_a_bump_has_the_values_of_its_formula() -> None:
    bump = radial_map(torch.tensor([[112.0, 60.0]]), torch.tensor([30.0]), (224, 224))
    assert bump.mean().item() == pytest.approx(0.110216, abs=1e-6)
    assert bump.mean().item() < 2 * math.pi * 30**2 / 224**2  # what lies beyond the border is missing
    assert bump[0, 0, 112, 60] == 1
    assert bump[0, 0, 112, 90].item() == pytest.approx(0.606531, abs=1e-6)


def test_bumps_lie_inside_and_are_as_wide_as_said() -> None:
    torch.manual_seed(0)
    images = torch.rand(300, 3, 224, 224)
    bumps = RadialMasks(temperature=None).draw(images)
    peak = bumps.flatten(1).argmax(dim=1)
    rows, columns = peak // 224, peak % 224
    assert rows.min() >= 3
    assert rows.max() <= 221
    assert columns.min() >= 3
    assert columns.max() <= 221
    assert rows.max() - rows.min() > 200
    drawn = RadialMasks(temperature=0.1).draw(images[:20])
    assert drawn.shape == (20, 1, 224, 224)
    assert ((drawn < 0.05) | (drawn > 0.95)).float().mean() > 0.8
