"""The three contracts."""

from __future__ import annotations

import json

import pytest
import torch

from maskexp.types import DataSpec, Prediction, resize_map

SPEC = DataSpec(
    name="toy",
    variant="custom",
    class_names=("land", "water"),
    attribute_names=("a", "b"),
    group_names=("land/a", "land/b", "water/a", "water/b"),
    image_size=(8, 8),
    train_group_counts=(4, 3, 2, 1),
    foreground="none",
)


def test_specification_survives_json() -> None:
    assert DataSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    assert (SPEC.num_classes, SPEC.num_groups) == (2, 4)


def test_incomplete_specification_names_what_is_missing() -> None:
    values = SPEC.to_dict()
    del values["variant"]
    with pytest.raises(ValueError, match=r"missing \['variant'\], unknown \['extra'\]"):
        DataSpec.from_dict(values | {"extra": 1})


def test_groups_must_be_labels_times_attributes() -> None:
    with pytest.raises(ValueError, match="make 4 groups, but 3 group names and 4 training counts"):
        DataSpec.from_dict(SPEC.to_dict() | {"group_names": ["x", "y", "z"]})


def test_attribution_extends_to_pixels_as_the_prediction_says() -> None:
    cells = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    binary = Prediction(torch.zeros(1, 2), {"own": cells}, interpolation="nearest").attribution_at((4, 4))
    smooth = Prediction(torch.zeros(1, 2), {"own": cells}).attribution_at((4, 4))
    assert binary is not None
    assert smooth is not None
    assert binary.sum() == 4
    assert smooth.unique().numel() > 2
    assert Prediction(torch.zeros(1, 2)).attribution_at((4, 4)) is None


def test_a_smooth_map_stays_in_its_range() -> None:
    for side in range(2, 60):
        assert resize_map(torch.ones(1, 1, 3, 3), (side, side), "bilinear").max() <= 1
