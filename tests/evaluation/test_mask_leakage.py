"""Leakage of a classifier that looks at nothing but the outline, and of one that cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.evaluation.mask_leakage import MaskLeakage, broken
from maskexp.types import Batch, Prediction
from tests.distributed import run_ranks
from tests.evaluation.doubles import ColourMeans, answers, batch, coloured, spec


class BlackWidth(ColourMeans):
    """Knows the class from the width of the black region in the upper left corner: 2 for class 0, 4 for class 1."""

    def forward(self, images: Tensor) -> Prediction:
        wide = (images[:, :, 0, 3] == 0).all(dim=1)
        return Prediction(logits=torch.stack([~wide, wide, torch.zeros_like(wide)], dim=1).float())


def silhouettes() -> Batch:
    """Black objects in the upper left corner, 2 or 4 pixels wide by class, on a bright ground."""
    images, label = torch.full((6, 3, 8, 8), 0.5), [0, 1, 0, 1, 0, 1]
    foreground = torch.zeros(6, 1, 8, 8, dtype=torch.bool)
    for mask, width in zip(foreground, (2, 4, 2, 4, 2, 4), strict=True):
        mask[..., :4, :width] = True
    return batch(torch.where(foreground, 0.0, images), label, foreground)


def test_a_silhouette_in_black_leaks_and_in_the_colour_of_the_ground_does_not() -> None:
    evaluation = MaskLeakage(("black", "#808080"), more_than=2)
    values = answers(evaluation, [list(range(6))], BlackWidth(), whole=silhouettes())
    assert values["mask_leakage/black/acc_object"] == values["mask_leakage/black/indicator"] == 1
    assert values["mask_leakage/#808080/acc_object"] == 0.5  # all are class 0 now
    assert values["mask_leakage/#808080/acc_object/class1"] == 0
    assert values["mask_leakage/#808080/acc_broken"] == 1
    assert values["mask_leakage/n/class1"] == 3


def test_the_chart_sets_the_two_masks_side_by_side() -> None:
    evaluation = MaskLeakage(("black", "#808080"))
    answers(evaluation, [list(range(6))], BlackWidth(), whole=silhouettes())
    (chart,) = evaluation.charts()
    assert chart.x == ["black", "#808080"]
    assert chart.series["object hidden"] == [1.0, 0.5]
    assert chart.series["broken mask hidden"][1] == 1.0


def test_a_broken_mask_has_the_same_area_elsewhere() -> None:
    mask = silhouettes()["foreground"]
    swapped = broken(mask)
    assert torch.equal(swapped.sum(dim=(1, 2, 3)), mask.sum(dim=(1, 2, 3)))
    assert not (swapped & mask).any()
    assert swapped[1, 0, 4:, 4:].all()
    assert torch.equal(broken(swapped), mask)


def test_wrong_predictions_and_absent_foregrounds_do_not_count() -> None:
    whole = silhouettes()
    whole["label"][0] = 2
    whole["has_foreground"][1] = False
    whole["foreground"][2] = False
    values = answers(MaskLeakage(("black",)), [list(range(6))], BlackWidth(), whole=whole)
    assert values["mask_leakage/n"] == 3


def test_the_share_of_the_silhouette_is_the_difference_to_layer_masking() -> None:
    images, label = coloured()
    foreground = batch(images, label)["foreground"]
    ground = torch.eye(3)[torch.tensor(label).roll(1)][:, :, None, None]  # speaks for another class
    images = torch.where(foreground, images, 0.1 * ground)
    values = answers(MaskLeakage(("#ff0000", "layer")), [list(range(6))], ColourMeans(), whole=batch(images, label))
    assert values["mask_leakage/#ff0000/acc_object"] == pytest.approx(1 / 3)  # all are red now
    assert values["mask_leakage/layer/acc_object"] == 0
    assert values["mask_leakage/#ff0000/over_layer"] == pytest.approx(1 / 3)
    assert "mask_leakage/layer/over_layer" not in values


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4, 1], [0]], [[2, 3, 5]]], [[], [list(range(6))]])
    evaluation = MaskLeakage(("black",), more_than=2)
    return [answers(evaluation, shard[rank], BlackWidth(), whole=silhouettes()) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = answers(MaskLeakage(("black",), more_than=2), [[5, 4], [3, 2, 1, 0]], BlackWidth(), whole=silhouettes())
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_every_takes_rows_of_the_split() -> None:
    values = answers(MaskLeakage(("black",), every=3), [[0, 1, 2], [3, 4, 5]], BlackWidth(), whole=silhouettes())
    assert values["mask_leakage/n"] == 2


def test_data_without_foregrounds_are_refused() -> None:
    with pytest.raises(ValueError, match="toy has no foregrounds, so that MaskLeakage"):
        MaskLeakage().prepare(spec(foreground="none"), ColourMeans())
