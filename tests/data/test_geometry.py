from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from maskexp.data.geometry import EvaluationGeometry, Resize, ShortSide, TrainingGeometry


def picture(height: int = 37, width: int = 53, seed: int = 0) -> Tensor:
    """RGB noise whose fourth channel, the foreground, equals the first."""
    rgb = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return torch.cat([rgb, rgb[:1]])


def training(
    seed: int = 0, rotation: float = 0.0, crop_scale: tuple[float, float] | None = (0.3, 0.9)
) -> TrainingGeometry:
    return TrainingGeometry(24, crop_scale, (3 / 4, 4 / 3), True, rotation, seed, EvaluationGeometry(24))


@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_foreground_follows_the_image_exactly(rotation: float) -> None:
    geometry = training(rotation=rotation)

    for index in range(30):
        moved = geometry(picture(), 0, index)
        assert moved.shape == (4, 24, 24)
        assert torch.equal(moved[3], moved[0])


@pytest.mark.parametrize("resize", ["square", "center_crop"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
def test_foreground_follows_the_image_in_evaluation(resize: Resize, crop_fraction: float) -> None:
    moved = EvaluationGeometry(24, resize, crop_fraction)(picture())

    assert moved.shape == (4, 24, 24)
    assert torch.equal(moved[3], moved[0])


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    first = training(0)(picture(), 1, 2)

    assert torch.equal(training(0)(picture(), 1, 2), first)
    for seed, epoch, index in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(training(seed)(picture(), epoch, index), first)


def test_augmentation_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    training()(picture(), 0, 0)

    assert torch.equal(torch.rand(3), expected)


def test_half_of_the_samples_are_mirrored() -> None:
    geometry = TrainingGeometry(20, None, (1.0, 1.0), True, 0.0, 0, EvaluationGeometry(20))
    pixels = picture(20, 20)

    moved = [geometry(pixels, 0, index) for index in range(200)]

    mirrored = sum(torch.equal(result, pixels.flip(-1)) for result in moved)
    kept = sum(torch.equal(result, pixels) for result in moved)
    assert mirrored + kept == 200
    assert 70 < mirrored < 130


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    evaluation = EvaluationGeometry(24, "center_crop")
    geometry = TrainingGeometry(24, None, (1.0, 1.0), False, 0.0, 0, evaluation)

    assert torch.equal(geometry(picture(), 3, 4), evaluation(picture()))


def test_square_shows_everything_and_center_crop_keeps_the_aspect() -> None:
    wide = torch.zeros(4, 40, 80, dtype=torch.uint8)
    wide[:, :, :20] = 255  # the left quarter

    square, cropped = EvaluationGeometry(40)(wide), EvaluationGeometry(40, "center_crop")(wide)

    assert square[0, 20].float().mean() == pytest.approx(255 / 4, abs=2)
    assert cropped.max() == 0  # the middle half has nothing of it


def test_crop_fraction_keeps_the_centre() -> None:
    pixels = torch.zeros(4, 64, 64, dtype=torch.uint8)
    pixels[:, 8:56, 8:56] = 255  # the middle three quarters

    assert EvaluationGeometry(48, crop_fraction=0.75)(pixels).min() == 255


def test_pictures_of_the_right_size_are_not_touched() -> None:
    assert torch.equal(EvaluationGeometry(24)(picture(24, 24)), picture(24, 24))


@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_training_is_torchvisions_composition_to_the_last_draw(rotation: float) -> None:
    crop = v2.RandomResizedCrop(24, (0.3, 0.9), (3 / 4, 4 / 3))
    turn = [v2.RandomRotation((-rotation, rotation), v2.InterpolationMode.BILINEAR)] if rotation else []
    composed = v2.Compose([*turn, crop, v2.RandomHorizontalFlip()])

    for index in range(20):
        torch.manual_seed(int(np.random.SeedSequence((7, 1, index)).generate_state(1, np.uint64)[0]))
        expected = composed(picture())
        assert torch.equal(training(7, rotation)(picture(), 1, index), expected)


@pytest.mark.parametrize(
    ("before", "after"), [((40, 80), (24, 48)), ((80, 43), (44, 24)), ((24, 90), (24, 90)), ((9, 30), (9, 30))]
)
def test_short_side_keeps_everything_and_never_enlarges(before: tuple[int, int], after: tuple[int, int]) -> None:
    moved = ShortSide(24)(picture(*before))

    assert moved.shape[1:] == after == ShortSide(24).output_size(*before)
    assert torch.equal(moved[3], moved[0])
    assert torch.equal(moved, picture(*before)) == (not ShortSide(24).shrinks(*before))
