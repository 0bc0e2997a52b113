"""torchvision's transforms on image and mask together, with draws that are a function of (seed, epoch, index)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskexp.data.errors import DataError
from maskexp.data.transforms import TrainTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.data.transforms.torchvision_v2 import BatchMixing, ImageAndMask
from maskexp.types import Batch

AUGMENTATIONS = [v2.RandAugment(), v2.AutoAugment(), v2.TrivialAugmentWide(), v2.RandomErasing(1.0)]
MOVING = [
    v2.RandomRotation([30, 40]),
    v2.RandomAffine(20, (0.2, 0.2), (0.7, 1.2), 10),
    v2.RandomHorizontalFlip(1.0),
    v2.RandomPerspective(0.5, 1.0),
    v2.RandomResizedCrop(24),
    v2.Compose([v2.RandomApply([v2.RandomVerticalFlip(1.0)], 0.5), v2.RandomChoice([v2.RandomRotation(20)])]),
]


def square(size: int = 24) -> Tensor:
    """A white rectangle off the centre on black; the mask is the same rectangle."""
    pixels = torch.zeros(4, size, size, dtype=torch.uint8)
    pixels[:, size // 6 : size // 2, size // 4 : size - 4] = 255
    return pixels


def noise(size: int = 24) -> Tensor:
    return torch.randint(0, 256, (4, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("transform", MOVING, ids=lambda each: type(each).__name__)
def test_image_and_mask_move_together(transform: v2.Transform) -> None:
    moving = ImageAndMask(transform, "train_transform")

    for index in range(10):
        moved = moving(square(), (0, 0, index))
        assert moved.shape == (4, 24, 24)
        assert moved.dtype == torch.uint8
        assert type(moved) is Tensor
        # nearest for the mask, smooth for the image: they differ on the edges alone
        assert ((moved[0] >= 128) != (moved[3] >= 128)).float().mean() < 0.08


@pytest.mark.parametrize("transform", [v2.RandAugment(4, 20), v2.AutoAugment(), v2.TrivialAugmentWide()])
def test_auto_augment_moves_the_mask_exactly_as_the_image(
    transform: v2.Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifts = 0
    for index in range(60):
        applied: list[str] = []
        kind: Any = type(transform)
        original = kind._apply_image_or_video_transform

        def apply(
            self: Any, image: Any, name: str, *a: Any, applied: Any = applied, original: Any = original, **how: Any
        ) -> Any:
            applied.append(name)
            moves = name.startswith(("Shear", "Translate", "Rotate"))
            return original(self, image, name, *a, **how) if moves else image

        with monkeypatch.context() as patch:
            patch.setattr(kind, "_apply_image_or_video_transform", apply)  # no colours: image and mask stay comparable
            moved = ImageAndMask(transform, "train_transform")(square(), (0, 0, index))
        assert torch.equal(moved[0], moved[3])
        shifts += not torch.equal(moved, square())
    assert shifts > 5


@pytest.mark.parametrize("transform", AUGMENTATIONS, ids=lambda each: type(each).__name__)
def test_draws_are_a_function_of_seed_epoch_and_index(transform: v2.Transform) -> None:
    augmented = {
        key: ImageAndMask(transform, "train_transform")(noise(), key)
        for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    }
    torch.manual_seed(99)
    again = ImageAndMask(transform, "train_transform")(noise(), (0, 0, 0))

    assert torch.equal(again, augmented[0, 0, 0])
    assert any(not torch.equal(again, other) for key, other in augmented.items() if key != (0, 0, 0))


def test_generators_are_left_as_they_were() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(2).tolist(), random.random(), np.random.rand()  # noqa: NPY002, S311
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002

    ImageAndMask(v2.RandAugment(), "train_transform")(noise(), (0, 0, 0))

    assert (torch.rand(2).tolist(), random.random(), np.random.rand()) == expected  # noqa: NPY002, S311


class Drawing(v2.Transform):
    """Draws from Python's and numpy's generators, as users' transforms do."""

    def transform(self, inpt: Any, params: Any) -> Any:
        value = (random.randrange(256) + np.random.randint(256)) % 256  # noqa: NPY002, S311
        return torch.full_like(inpt, value) if isinstance(inpt, tv_tensors.Image) else inpt


def test_transforms_that_draw_elsewhere_are_seeded_too() -> None:
    transform = ImageAndMask(Drawing(), "train_transform")

    values = [int(transform(noise(), (0, 0, index))[0, 0, 0]) for index in range(8)]

    assert values == [int(transform(noise(), (0, 0, index))[0, 0, 0]) for index in range(8)]
    assert len(set(values)) > 4


@pytest.mark.parametrize("fill", [255, [255, 0, 0]])
def test_filled_corners_are_no_foreground(fill: Any) -> None:
    nothing = torch.zeros(4, 24, 24, dtype=torch.uint8)

    moved = ImageAndMask(v2.Compose([v2.RandomRotation([45, 45], fill=fill)]), "train_transform")(nothing, (0, 0, 0))

    assert moved[0].max() == 255
    assert moved[3].max() == 0


def test_without_a_mask_there_are_three_channels() -> None:
    transform = ImageAndMask(v2.RandAugment(), "train_transform")

    assert torch.equal(transform(noise()[:3], (0, 0, 5)), transform(noise(), (0, 0, 5))[:3])


def test_floats_become_bytes_again() -> None:
    floats = v2.Compose([v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)])

    assert torch.equal(ImageAndMask(floats, "train_transform")(noise(), (0, 0, 0)), noise())


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (
            v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.1] * 3)]),
            r"Compose returns values from -5 to 5; .*omit Normalize",
        ),
        (v2.Grayscale(1), r"Grayscale returns shapes \(1, 24, 24\) and \(1, 24, 24\) instead of an RGB image"),
        (v2.Normalize([0.5] * 3, [0.1] * 3), "Normalize cannot be applied to a byte image and its mask"),
        (v2.AugMix(), "AugMix cannot be applied to a byte image and its mask"),
    ],
)
def test_what_is_no_image_and_mask_is_refused(transform: v2.Transform, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^train_transform: {sentence}"):
        ImageAndMask(transform, "train_transform")(noise(), (0, 0, 0))


def test_mixing_is_no_transform_of_one_image() -> None:
    with pytest.raises(DataError, match=r"MixUp mixes whole batches; give it as train_transform.mix"):
        Pipeline(24, 0, TrainTransform(transforms=[v2.MixUp()]))
    with pytest.raises(DataError, match=r"RandAugment changes single images: give it under train_transform.transforms"):
        Pipeline(24, 0, TrainTransform(mix=v2.RandomChoice([v2.RandAugment(), v2.MixUp()])))


def test_a_transform_in_place_of_ours_is_brought_to_size() -> None:
    pixels = noise(40)

    assert Pipeline(24, 0, v2.RandAugment()).augment(pixels, 0, 0).shape == (4, 24, 24)
    assert Pipeline(24, 0, v2.RandomResizedCrop(24)).augment(pixels, 0, 0).shape == (4, 24, 24)


def test_evaluation_has_to_leave_the_size() -> None:
    right = Pipeline(24, evaluation=v2.Compose([v2.Resize(30), v2.CenterCrop(24)]))

    assert torch.equal(right.evaluate(noise(40)), right.evaluate(noise(40)))
    with pytest.raises(DataError, match=r"eval_transform leaves 30x30 pixels, but image_size is 24; let it end with"):
        Pipeline(24, evaluation=v2.Resize([30, 30])).evaluate(noise(40))


def batch(known: tuple[bool, ...] = (True, True, True)) -> Batch:
    """Images of one grey each; their foregrounds are rows of their own."""
    size = len(known)
    foreground = torch.zeros(size, 1, 8, 8, dtype=torch.bool)
    for i in range(size):
        foreground[i, :, i * 2 : i * 2 + 2] = known[i]
    return {
        "image": torch.arange(1, size + 1).view(-1, 1, 1, 1).expand(size, 3, 8, 8) / 10,
        "label": torch.arange(size),
        "attribute": torch.zeros(size, dtype=torch.int64),
        "group": torch.arange(size),
        "foreground": foreground,
        "has_foreground": torch.tensor(known),
        "index": torch.arange(size) + 5,
    }


def test_mixup_mixes_images_and_labels_by_the_same_share() -> None:
    mixed = BatchMixing(v2.MixUp())(batch(), 4, (0, 0, 5))

    share = float(mixed["label"][0, 0])
    assert 0 < share < 1
    assert mixed["label"].shape == (3, 4)
    torch.testing.assert_close(mixed["label"].sum(1), torch.ones(3))
    torch.testing.assert_close(mixed["image"][0], torch.full((3, 8, 8), share * 0.1 + (1 - share) * 0.3))
    likelier = 0 if share >= 0.5 else 2
    assert torch.equal(mixed["foreground"][0], batch()["foreground"][likelier])
    assert mixed["has_foreground"].all()


def test_cutmix_cuts_masks_as_images() -> None:
    given = batch()
    given["foreground"] = given["image"][:, :1] > 0.15  # all but the first image are foreground

    mixed = BatchMixing(v2.CutMix())(given, 3, (0, 0, 7))

    pasted = mixed["image"][0, 0] > 0.2
    assert pasted.any()
    assert torch.equal(mixed["foreground"][0, 0], pasted)
    assert float(mixed["label"][0, 2]) == pytest.approx(pasted.float().mean().item())


def test_a_mixture_with_an_unknown_foreground_is_unknown() -> None:
    mixed = BatchMixing(v2.MixUp())(batch((True, False, True)), 3, (0, 0, 5))

    assert mixed["has_foreground"].tolist() == [True, False, False]


def test_mixing_is_a_function_of_its_key() -> None:
    transform = BatchMixing(v2.RandomChoice([v2.MixUp(), v2.CutMix()]))
    first = transform(batch(), 3, (0, 1, 5))
    torch.manual_seed(3)

    assert torch.equal(transform(batch(), 3, (0, 1, 5))["image"], first["image"])
    assert not torch.equal(transform(batch(), 3, (0, 2, 5))["image"], first["image"])


def test_labels_are_soft_even_where_nothing_was_mixed() -> None:
    mixed = BatchMixing(v2.RandomApply([v2.MixUp()], p=0.0))(batch(), 3, (0, 0, 5))

    assert torch.equal(mixed["label"], torch.eye(3))


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match="MixUp has num_classes 10, but the data has 3 classes; omit num_classes"):
        BatchMixing(v2.MixUp(num_classes=10)).check(3)
    BatchMixing(v2.MixUp(num_classes=3)).check(3)
