"""Segments cover each image, are numbered without gaps, and are the same every time."""

from __future__ import annotations

import pytest
import torch

from maskexp.attribution import segments as module
from maskexp.attribution.segments import SEGMENTER_NAMES, Patches, Quickshift, Slic, create_segmenter, segment_counts


def halves(size: int = 32) -> torch.Tensor:
    """A black and a red half: what every superpixel algorithm has to tell apart."""
    image = torch.zeros(1, 3, size, size)
    image[:, 0, :, size // 2 :] = 1
    return image


def test_patches_of_the_published_size_are_196() -> None:
    maps = Patches()(torch.rand(2, 3, 224, 224))
    assert maps.dtype == torch.int64
    assert maps.shape == (2, 224, 224)
    assert segment_counts(maps).tolist() == [196, 196]
    assert torch.equal(torch.bincount(maps[0].flatten()), torch.full((196,), 256))
    assert maps[0, 16, 0] == 14  # row by row


def test_patches_at_the_border_are_smaller() -> None:
    assert Patches(2)(torch.rand(1, 3, 3, 5))[0].tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


@pytest.mark.parametrize("name", SEGMENTER_NAMES)
def test_every_name_cuts_images_without_gaps(name: str) -> None:
    pytest.importorskip("skimage")
    torch.manual_seed(0)
    images = torch.cat([halves(), torch.rand(1, 3, 32, 32)])
    segmenter = create_segmenter(name)
    maps = segmenter(images)
    assert maps.shape == (2, 32, 32)
    for image, count in zip(maps, segment_counts(maps).tolist(), strict=True):
        assert image.unique().tolist() == list(range(count))
    assert torch.equal(maps, segmenter(images))
    assert torch.equal(maps[1:], segmenter(images[1:]))
    assert segmenter(images[:0]).shape == (0, 32, 32)


@pytest.mark.parametrize("segmenter", ["slic", "quickshift"])
def test_superpixels_keep_to_one_side_of_an_edge(segmenter: str) -> None:
    pytest.importorskip("skimage")
    labels = create_segmenter(segmenter)(halves())[0]
    assert not set(labels[:, :16].unique().tolist()) & set(labels[:, 16:].unique().tolist())


def test_numbers_in_a_name_are_the_setting() -> None:
    pytest.importorskip("skimage")
    assert create_segmenter("patches8") == Patches(8)
    assert create_segmenter("slic250") == Slic(250)
    assert create_segmenter("quickshift2") == Quickshift(2)
    assert create_segmenter("quickshift") == Quickshift(4.0, 200.0, 0.2)


def test_an_image_without_structure_may_be_one_segment() -> None:
    pytest.importorskip("skimage")
    assert segment_counts(Quickshift()(torch.full((1, 3, 16, 16), 0.5))).tolist() == [1]


@pytest.mark.parametrize("name", ["squares", "patches0", "patches-1", "slic2.5", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown segments .* choose from patches16"):
        create_segmenter(name)


@pytest.mark.parametrize("images", [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_what_is_no_batch_of_images_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"need a batch \(B, 3, H, W\) of floats"):
        Patches()(images)


@pytest.mark.parametrize("name", ["slic", "quickshift"])
def test_without_scikit_image_one_sentence_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "slic", None)
    with pytest.raises(ModuleNotFoundError, match=r"scikit-image; install it: pip install 'maskexp\[segments\]'"):
        create_segmenter(name)
    assert create_segmenter("patches16") == Patches(16)


def test_patches_need_a_size() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        Patches(0)
