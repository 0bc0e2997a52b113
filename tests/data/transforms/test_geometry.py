from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from maskexp.data.errors import DataError
from maskexp.data.transforms import EvalTransform, TrainTransform
from maskexp.data.transforms.geometry import Resize, ShortSide, draws
from maskexp.data.transforms.pipeline import Pipeline


def random_image(height: int = 37, width: int = 53, seed: int = 0) -> Tensor:
    """RGB noise whose fourth channel, the foreground, equals the first."""
    rgb = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return torch.cat([rgb, rgb[:1]])


def training(seed: int = 0, rotation: float = 0.0, crop_scale: tuple[float, float] | None = (0.3, 0.9)) -> Pipeline:
    return Pipeline(24, seed, TrainTransform(crop_scale, rotation=rotation))


def evaluated(pixels: Tensor, size: int, *arguments: Any) -> Tensor:
    return EvalTransform(*arguments)(pixels, size)


def box(pipeline: Pipeline, *arguments: Any) -> tuple[int, int, int, int]:
    assert isinstance(pipeline.train, TrainTransform)
    return pipeline.train.crop_box(*arguments)


@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_foreground_follows_the_image_exactly(rotation: float) -> None:
    geometry = training(rotation=rotation)

    for index in range(30):
        moved = geometry.augment(random_image(), 0, index)
        assert moved.shape == (4, 24, 24)
        assert torch.equal(moved[3], moved[0])


@pytest.mark.parametrize("resize", ["square", "center_crop"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
def test_foreground_follows_the_image_in_evaluation(resize: Resize, crop_fraction: float) -> None:
    moved = evaluated(random_image(), 24, resize, crop_fraction)

    assert moved.shape == (4, 24, 24)
    assert torch.equal(moved[3], moved[0])


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    first = training(0).augment(random_image(), 1, 2)

    assert torch.equal(training(0).augment(random_image(), 1, 2), first)
    for seed, epoch, index in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(training(seed).augment(random_image(), epoch, index), first)


def test_augmentation_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    training().augment(random_image(), 0, 0)

    assert torch.equal(torch.rand(3), expected)


def test_half_of_the_samples_are_mirrored() -> None:
    geometry = Pipeline(20, 0, TrainTransform(None))
    pixels = random_image(20, 20)

    moved = [geometry.augment(pixels, 0, index) for index in range(200)]

    mirrored = sum(torch.equal(result, pixels.flip(-1)) for result in moved)
    kept = sum(torch.equal(result, pixels) for result in moved)
    assert mirrored + kept == 200
    assert 70 < mirrored < 130


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    pipeline = Pipeline(24, 0, TrainTransform(None, flip=0.0), EvalTransform("center_crop"))

    assert torch.equal(pipeline.augment(random_image(), 3, 4), pipeline.evaluate(random_image()))


def test_square_shows_everything_and_center_crop_keeps_the_aspect() -> None:
    wide = torch.zeros(4, 40, 80, dtype=torch.uint8)
    wide[:, :, :20] = 255  # the left quarter

    square, cropped = evaluated(wide, 40), evaluated(wide, 40, "center_crop")

    assert square[0, 20].float().mean() == pytest.approx(255 / 4, abs=2)
    assert cropped.max() == 0  # the middle half has nothing of it


def test_crop_fraction_keeps_the_centre() -> None:
    pixels = torch.zeros(4, 64, 64, dtype=torch.uint8)
    pixels[:, 8:56, 8:56] = 255  # the middle three quarters

    assert evaluated(pixels, 48, "square", 0.75).min() == 255


def test_images_of_the_right_size_are_not_touched() -> None:
    assert torch.equal(evaluated(random_image(24, 24), 24), random_image(24, 24))


@pytest.mark.parametrize("rotation", [0.0, 25.0])
@pytest.mark.parametrize("order", ["planes", "pixels"])
def test_training_is_torchvisions_composition_to_the_last_bit(rotation: float, order: str) -> None:
    geometry = training(7, rotation)
    pixels = random_image() if order == "planes" else random_image().permute(1, 2, 0).contiguous().permute(2, 0, 1)

    for index in range(20):
        turn, mirror, *of_crop = draws(7, 1, index)
        expected = F.rotate(random_image(), rotation * (2 * turn - 1), v2.InterpolationMode.BILINEAR)
        expected = F.resized_crop(expected, *box(geometry, 37, 53, of_crop), size=[24, 24], antialias=True)
        assert torch.equal(geometry.augment(pixels, 1, index), expected.flip(-1) if mirror < 0.5 else expected)


@pytest.mark.parametrize(("height", "width"), [(37, 53), (120, 30), (20, 90)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int) -> None:
    geometry, size = training(crop_scale=(0.3, 0.9)), 1500
    crop = v2.RandomResizedCrop(24, (0.3, 0.9), (3 / 4, 4 / 3))
    torch.manual_seed(0)

    found = np.array([box(geometry, height, width, draws(0, 1, index)[2:]) for index in range(size)])
    pixels = random_image(height, width)
    boxes = [crop.make_params([pixels]) for _ in range(size)]

    expected = np.array([[box[key] for key in ("top", "left", "height", "width")] for box in boxes])
    for mine, theirs in zip(found.T, expected.T, strict=True):
        assert ks_2samp(mine, theirs).statistic < 0.06  # 1.6 / sqrt(1500 / 2): one in a hundred runs of another seed
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= [height, width]).all()


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10)])
def test_a_crop_that_never_fits_is_the_largest_in_the_centre(height: int, width: int) -> None:
    crop = v2.RandomResizedCrop(24, (1.0, 1.0), (3 / 4, 4 / 3))
    expected = crop.make_params([torch.zeros(3, height, width)])

    found = box(training(crop_scale=(1.0, 1.0)), height, width, [0.5] * 22)

    assert found == tuple(expected[key] for key in ("top", "left", "height", "width"))


def test_draws_are_independent_of_each_other() -> None:
    several = np.array([draws(seed, epoch, index) for seed in range(8) for epoch in range(8) for index in range(16)])

    assert several.shape == (1024, 24)
    assert len(np.unique(several)) == several.size
    assert (several.min(), several.max()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    correlation = np.corrcoef(several.T) - np.eye(24)
    assert abs(correlation).max() < 4 / np.sqrt(len(several))
    assert abs(np.corrcoef(several[:-1].ravel(), several[1:].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("before", "after"), [((40, 80), (24, 48)), ((80, 43), (44, 24)), ((24, 90), (24, 90)), ((9, 30), (9, 30))]
)
def test_short_side_keeps_everything_and_never_enlarges(before: tuple[int, int], after: tuple[int, int]) -> None:
    moved = ShortSide(24)(random_image(*before))

    assert moved.shape[1:] == after == ShortSide(24).output_size(*before)
    assert torch.equal(moved[3], moved[0])
    assert torch.equal(moved, random_image(*before)) == (not ShortSide(24).shrinks(*before))


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("crop_scale", (0.9, 0.1), r"crop_scale is \(0.9, 0.1\); it must be a lower and an upper share"),
        ("crop_scale", (0.0, 1.0), "crop_scale is"),
        ("crop_scale", (0.5, 1.5), "crop_scale is"),
        ("crop_scale", (math.nan, 1.0), "crop_scale is"),
        ("crop_ratio", (2.0, 1.0), "crop_ratio is"),
        ("crop_ratio", (0.0, 1.0), "crop_ratio is"),
        ("crop_ratio", (1.0, math.inf), "crop_ratio is"),
        ("flip", 1.5, r"flip is 1.5; it must be a probability in \[0, 1\]"),
        ("flip", -0.1, "flip is"),
        ("flip", True, "flip is True"),
        ("flip", math.nan, "flip is nan"),
        ("rotation", math.nan, r"rotation is nan; it must be in \[0, 180\] degrees"),
        ("rotation", math.inf, "rotation is inf"),
        ("rotation", -5.0, "rotation is"),
        ("photometric", -0.1, r"photometric is -0.1; it must be in \[0, 1\]"),
        ("photometric", 2.0, "photometric is"),
        ("photometric", math.nan, "photometric is"),
    ],
)
def test_training_arguments_without_meaning(argument: str, value: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        TrainTransform(**{argument: value})


@pytest.mark.parametrize("crop_fraction", [0.0, 1.5, -1.0, math.nan])
def test_crop_fraction_without_meaning(crop_fraction: float) -> None:
    with pytest.raises(DataError, match=f"crop_fraction is {crop_fraction}; it must be in"):
        EvalTransform(crop_fraction=crop_fraction)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip_is_a_probability(probability: float) -> None:
    pixels, pipeline = random_image(20, 20), Pipeline(20, 0, TrainTransform(None, flip=probability))

    for index in range(20):
        assert torch.equal(pipeline.augment(pixels, 0, index), pixels.flip(-1) if probability else pixels)


@pytest.mark.parametrize("resize", ["square", "center_crop"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.75])
@pytest.mark.parametrize(("height", "width"), [(80, 120), (130, 70), (48, 48)])
def test_a_region_of_the_result_is_found_in_the_image_again(
    resize: Any, crop_fraction: float, height: int, width: int
) -> None:
    transform = EvalTransform(resize, crop_fraction)
    region = torch.zeros(48, 48, dtype=torch.bool)
    region[12:24, 20:40] = True
    inside = transform.undone(region, height, width)
    assert inside.shape == (height, width)
    again = transform((inside[None] * 255).to(torch.uint8), 48)[0] > 127
    differing = int((again ^ region).sum())
    assert differing <= 2 * (12 + 20), "at most the outline, by a pixel"
    everything = transform.undone(torch.ones(48, 48, dtype=torch.bool), height, width).float().mean()
    kept = crop_fraction**2 * (min(height, width) / max(height, width) if resize == "center_crop" else 1)
    assert float(everything) == pytest.approx(kept, abs=0.03)
