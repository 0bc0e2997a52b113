from __future__ import annotations

from typing import Any

import pytest
from torchvision.transforms import v2

from maskexp.data import DataError
from maskexp.data.transforms import EvalTransform, TrainTransform
from maskexp.data.transforms.stored import described, eval_transform, in_todays_form


def test_former_arguments_become_transforms() -> None:
    former = {"root": "birds", "crop_scale": (0.5, 1.0), "flip": True, "rotation": 15.0, "resize": "center_crop"}

    found = in_todays_form(former)

    assert found == {
        "root": "birds",
        "train_transform": {
            "class_path": "maskexp.data.transforms.TrainTransform",
            "init_args": {"crop_scale": [0.5, 1.0], "flip": 0.5, "rotation": 15.0},
        },
        "eval_transform": {
            "class_path": "maskexp.data.transforms.EvalTransform",
            "init_args": {"resize": "center_crop"},
        },
    }
    assert in_todays_form(found) == found
    assert in_todays_form({"flip": False})["train_transform"]["init_args"] == {"flip": 0.0}
    assert in_todays_form({"crop_scale": None})["train_transform"]["init_args"] == {"crop_scale": None}


def test_transforms_are_described_as_a_configuration_names_them() -> None:
    transform = TrainTransform(transforms=[v2.RandAugment(3), v2.AutoAugment()], mix=v2.CutMix(alpha=0.5))

    found = described(transform)

    assert found["class_path"] == "maskexp.data.transforms.TrainTransform"
    further, mix = found["init_args"]["transforms"], found["init_args"]["mix"]
    assert [each["class_path"].rpartition(".")[2] for each in further] == ["RandAugment", "AutoAugment"]
    assert further[0]["init_args"]["num_ops"] == 3
    assert further[1]["init_args"]["policy"] == "IMAGENET"
    assert mix == {
        "class_path": "torchvision.transforms.v2.CutMix",
        "init_args": {"alpha": 0.5, "num_classes": None},
    }


@pytest.mark.parametrize(
    "transform",
    [
        EvalTransform("center_crop", 0.875),
        v2.Resize([24, 24]),
        v2.Compose([v2.Resize(30), v2.CenterCrop(24)]),
    ],
    ids=["ours", "one", "several"],
)
def test_a_described_evaluation_is_built_again(transform: Any) -> None:
    stored = {"eval_transform": described(transform)}

    assert described(eval_transform(stored)) == stored["eval_transform"]


def test_without_a_stored_transform_it_is_the_default() -> None:
    assert described(eval_transform({"seed": 1})) == described(EvalTransform())


class Local(v2.Transform):
    """A user's own transform, which hides its argument."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.side = size


def test_what_cannot_be_described_is_told_in_words_and_not_rebuilt() -> None:
    words = described(Local(3))

    assert words == "Local(side=3)"
    with pytest.raises(DataError, match="eval_transform cannot be rebuilt"):
        eval_transform({"eval_transform": words})
