"""Pixels that survive noise, and maps that are compared with themselves."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import PixelAveragePrecision, control_attribution
from maskexp.metrics.functional import above_own_mean, kept_pixels

INDEX = torch.arange(8)
SIZE = (224, 224)


def test_share_by_its_formula() -> None:
    kept = kept_pixels(INDEX, SIZE, 0.8)
    assert (kept.shape, kept.dtype) == ((8, 1, 224, 224), torch.bool)
    assert kept.float().mean().item() == pytest.approx(0.8, abs=4 * 0.0006)


def test_batches_do_not_matter_but_image_and_seed_do() -> None:
    torch.manual_seed(1)
    kept = kept_pixels(INDEX, (16, 16), 0.8)
    single = [kept_pixels(INDEX[i : i + 1], (16, 16), 0.8) for i in reversed(range(8))]
    assert torch.equal(torch.cat(single[::-1]), kept)
    assert not torch.equal(kept[0], kept[1])
    assert not torch.equal(kept_pixels(INDEX, (16, 16), 0.8, seed=1), kept)


def test_more_noise_takes_the_same_pixels_and_more() -> None:
    assert (kept_pixels(INDEX, (16, 16), 0.8) <= kept_pixels(INDEX, (16, 16), 0.9)).all()
    assert kept_pixels(INDEX, (16, 16), 1.0).all()
    assert not kept_pixels(INDEX, (16, 16), 0.0).any()


def test_noise_is_not_the_random_control() -> None:
    random = control_attribution("random", torch.zeros(8, 1, *SIZE, dtype=torch.bool), INDEX)
    kept = kept_pixels(INDEX, SIZE, 0.5)
    assert random[kept].mean().item() == pytest.approx(0.5, abs=0.005)


def test_a_map_is_its_own_perfect_detector_and_a_constant_one_has_no_reference() -> None:
    clean = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    clean[2] = 0.5
    reference = above_own_mean(clean)
    assert reference.flatten(1).sum(dim=1).tolist()[2] == 0
    precision = []
    for disturbed in (clean, 1 - clean):
        metric = PixelAveragePrecision(average="image")
        metric.update(disturbed, reference)
        precision.append(metric.compute().item())
    assert precision[0] == 1.0
    assert precision[1] < 0.5


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"keep is a probability in \[0, 1\], not 80"):
        kept_pixels(INDEX, SIZE, 80)
    with pytest.raises(ValueError, match="NaN or infinite"):
        above_own_mean(torch.full((1, 1, 2, 2), torch.nan))
