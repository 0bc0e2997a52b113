from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.data.errors import CorruptImageError, DataError
from maskexp.data.loading.pixels import FilePixels, MemoryPixels
from maskexp.data.manifest.table import Row
from maskexp.types import ForegroundKind
from tests.fixtures import resize_image, truncate

ROWS = [
    Row("0", "train", 0, "a b.png", mask="m.png", box=(-3.0, 1.4, 4.6, 90.0)),
    Row("1", "train", 0, "a b.png", mask="m.png"),
    Row("2", "train", 0, "a b.png", box=(2.0, 1.0, 5.0, 4.0)),
    Row("3", "train", 0, "a b.png"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a b.png")
    Image.fromarray(values[..., 0].copy()).save(tmp_path / "m.png")
    return tmp_path


def test_segmentation_is_the_fourth_channel(root: Path) -> None:
    pixels = FilePixels(ROWS, "segmentation", root)

    assert pixels.has_foreground.tolist() == [True, True, False, False]
    assert pixels.read(0).shape == (4, 6, 8)
    assert torch.equal(pixels.read(0)[3], pixels.read(0)[0])
    assert pixels.read(3)[3].max() == 0


def test_box_is_painted_half_open_and_clipped(root: Path) -> None:
    pixels = FilePixels(ROWS, "box", root)

    assert pixels.has_foreground.tolist() == [True, False, True, False]
    expected = torch.zeros(6, 8, dtype=torch.uint8)
    expected[1:, :5] = 255
    assert torch.equal(pixels.read(0)[3], expected)
    assert pixels.read(2)[3].count_nonzero() == 9
    assert pixels.read(1)[3].max() == 0


def test_several_boxes_make_their_union(root: Path) -> None:
    several = Row(
        "4", "train", 0, "a b.png", box=(0.0, 0.0, 2.0, 2.0), more_boxes=((1.0, 1.0, 4.0, 3.0), (7.0, 5.0, 9.0, 6.0))
    )
    pixels = FilePixels([*ROWS, several], "box", root)

    expected = torch.zeros(6, 8, dtype=torch.uint8)
    expected[:2, :2] = expected[1:3, 1:4] = expected[5, 7] = 255
    assert torch.equal(pixels.read(4)[3], expected)
    assert pixels.read(2)[3].count_nonzero() == 9
    assert pixels.has_foreground.tolist() == [True, False, True, False, True]


def test_no_foreground(root: Path) -> None:
    pixels = FilePixels(ROWS, "none", root)

    assert not pixels.has_foreground.any()
    assert pixels.read(0).shape == FilePixels(ROWS, "box", root).read(3)[:3].shape


def test_masks_in_a_folder_of_their_own(root: Path) -> None:
    (root / "elsewhere").mkdir()
    (root / "m.png").rename(root / "elsewhere/m.png")

    assert torch.equal(*FilePixels(ROWS, "segmentation", root, root / "elsewhere").read(0)[[0, 3]])


def test_mask_of_another_size(root: Path) -> None:
    resize_image(root / "m.png", (7, 6))

    with pytest.raises(DataError, match=r"mask \S+m\.png has 7x6 pixels but its image .+a b\.png has 8x6"):
        FilePixels(ROWS, "segmentation", root).read(0)


@pytest.mark.parametrize("name", ["a b.png", "m.png"])
def test_missing_file(name: str, root: Path) -> None:
    (root / name).unlink()

    with pytest.raises(DataError, match=f"{name} is missing although the manifest lists it"):
        FilePixels(ROWS, "segmentation", root).read(0)


@pytest.mark.parametrize("name", ["a b.png", "m.png"])
def test_truncated_file(name: str, root: Path) -> None:
    truncate(root / name)

    with pytest.raises(CorruptImageError, match=name):
        FilePixels(ROWS, "segmentation", root).read(0)


@pytest.mark.parametrize(("foreground", "there"), [("segmentation", True), ("none", False)])
def test_memory(foreground: ForegroundKind, there: bool) -> None:
    values = np.full((2, 4, 5, 5), 9, np.uint8)

    pixels = MemoryPixels(values, foreground == "segmentation")

    assert pixels.has_foreground.tolist() == [there, there]
    assert pixels.read(1)[:3].unique().tolist() == [9]
    assert bool(pixels.read(1)[3].any()) == there
    pixels.read(1).zero_()
    assert values.min() == 9  # what is read is a copy


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.8, 0.9), (0.0, 0.0, 1.0, 1.0), (3.0, 3.0, 3.4, 5.0)])
def test_boxes_below_a_pixel_are_refused(box: tuple[float, float, float, float], root: Path) -> None:
    row = Row("5", "val", 0, "a b.png", box=box)

    with pytest.raises(DataError, match=r"of '5' \(split 'val'\) is smaller than a pixel; its corners are pixels, not"):
        FilePixels([*ROWS, row], "box", root)
    FilePixels([row], "none", root)  # where boxes do not count


def test_a_box_beside_its_image_is_refused(root: Path) -> None:
    row = Row("5", "val", 0, "a b.png", box=(20.0, 1.0, 30.0, 5.0))

    with pytest.raises(DataError, match=r"the box 20, 1, 30, 5 of \S+a b\.png shows none of its 8x6 pixels"):
        FilePixels([row], "box", root).read(0)


@pytest.mark.parametrize(("value", "sentence"), [(0, "are empty"), (255, "cover the whole image")])
def test_masks_that_are_all_alike_have_been_misread(value: int, sentence: str, root: Path) -> None:
    Image.new("L", (8, 6), value).save(root / "m.png")
    rows = [*ROWS, Row("4", "train", 0, "a b.png", mask="half.png")]

    with pytest.raises(DataError, match=rf"all 2 masks of split 'train' {sentence}, so that they tell"):
        FilePixels(ROWS, "segmentation", root).require_meaning("train")
    half = np.zeros((6, 8), np.uint8)
    half[:3] = 255
    Image.fromarray(half).save(root / "half.png")
    FilePixels(rows, "segmentation", root).require_meaning("train")
    FilePixels(ROWS, "none", root).require_meaning("train")


def test_boxes_around_whole_images_are_refused(root: Path) -> None:
    row = Row("4", "train", 0, "a b.png", box=(0.0, 0.0, 8.0, 6.0))

    with pytest.raises(DataError, match="all 1 boxes of split 'val' cover the whole image"):
        FilePixels([row], "box", root).require_meaning("val")
