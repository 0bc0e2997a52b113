"""Boxes around binarised maps: the published evaluation's own test values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskexp.metrics import MaxBoxAccuracy
from maskexp.metrics.functional import box_iou, max_box_accuracy
from maskexp.metrics.functional.max_box_accuracy import bounding_boxes
from tests.metrics.maps import row

ONE_REGION = [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]]
MANY_REGIONS = [[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]]


def boxes_at(scores: list[list[float]], threshold: float, *, largest_only: bool = True) -> list[list[int]]:
    grey = (np.array(scores) * 255).astype(np.uint8)
    return bounding_boxes(grey > int(threshold * grey.max()), largest_only=largest_only).tolist()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (ONE_REGION, [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]),
        (MANY_REGIONS, [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]]),
        (np.zeros((4, 5)).tolist(), [[0, 0, 0, 0]] * 5),
    ],
)
def test_largest_box_at_each_threshold(scores: list[list[float]], expected: list[list[int]]) -> None:
    assert [boxes_at(scores, threshold)[0] for threshold in (0, 0.2, 0.4, 0.6, 0.8)] == expected


def test_all_regions_and_the_outline_of_a_hole() -> None:
    ring = np.zeros((8, 9))
    ring[1:6, 1:6] = 1
    ring[3, 3] = 0
    ring[7, 8] = 1
    assert sorted(boxes_at(ring.tolist(), 0, largest_only=False)) == [[1, 1, 6, 6], [2, 2, 5, 5], [8, 7, 8, 7]]


def test_thin_regions_have_no_area_and_rings_have_that_of_their_outline() -> None:
    scores = np.zeros((7, 20))
    scores[0, :20] = 1  # a line as long as the image: 0
    scores[2:6, 2:6] = 1
    scores[3:5, 3:5] = 0  # a ring of 12 pixels: 9
    scores[3:6, 9:12] = 1  # a block of 9 pixels: 4
    assert boxes_at(scores.tolist(), 0) == [[2, 2, 6, 6]]


def test_last_of_equal_regions_is_taken() -> None:
    scores = np.zeros((5, 8))
    scores[0, 0] = scores[1, 1] = 1  # a diagonal encloses nothing
    scores[3, 5] = 1  # a pixel neither
    assert boxes_at(scores.tolist(), 0) == [[5, 3, 6, 4]]
    assert boxes_at(scores[::-1].tolist(), 0) == [[0, 3, 2, 4]]


def test_iou_counts_the_last_pixel() -> None:
    assert box_iou(np.array([[1, 2, 5, 6]]), np.array([[3, 1, 4, 5]])).item() == pytest.approx(8 / 27)
    assert box_iou(np.array([[0, 0, 1, 1]]), np.array([[2, 2, 3, 3], [0, 0, 1, 1]])).tolist() == [[0, 1]]


def test_perfect_map_is_always_right() -> None:
    foreground = torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    foreground[0, 0, 3:7, 2:9] = True
    foreground[1, 0, 8:, 8:] = True
    for version in ("v1", "v2"):
        result = max_box_accuracy(foreground.float(), foreground, version=version)  # type: ignore[arg-type]
        assert all(value == 1 for value in result.values())


def test_threshold_is_one_for_all_images_and_batches() -> None:
    # A dim halo makes the first image right below 0.5 only; a bright distractor makes the second right above only.
    maps, foreground = torch.zeros(2, 1, 20), torch.zeros(2, 1, 20, dtype=torch.bool)
    maps[0, 0, 4:6], maps[0, 0, 6:10] = 1.0, 0.5
    foreground[0, 0, 4:10] = True
    maps[1, 0, 4:6], maps[1, 0, 6:18] = 1.0, 0.5
    foreground[1, 0, 4:6] = True
    metric = MaxBoxAccuracy("v1", thresholds=10)
    for i in range(2):
        metric.update(maps[i : i + 1], foreground[i : i + 1])
        assert max_box_accuracy(maps[i : i + 1], foreground[i : i + 1], version="v1")["max_box_acc"] == 1
    assert metric.compute()["max_box_acc"] == 0.5


def test_strictness_of_the_three_ious() -> None:
    foreground = torch.zeros(1, 1, 30, dtype=torch.bool)
    foreground[..., 10:19] = True  # 10 pixels with the one that a box has behind its last
    maps = torch.zeros(1, 1, 30)
    maps[..., 10:15] = 1  # 6 of 10
    values = {name: value.item() for name, value in max_box_accuracy(maps, foreground).items()}
    assert values == pytest.approx(
        {"max_box_acc_v2": 2 / 3, "max_box_acc_30": 1, "max_box_acc_50": 1, "max_box_acc_70": 0}
    )


def test_any_of_several_given_boxes_counts() -> None:
    foreground = torch.ones(1, 1, 30, dtype=torch.bool)
    maps = torch.zeros(1, 1, 30)
    maps[..., 10:15] = 1
    boxes = [torch.tensor([[20, 0, 25, 0], [10, 0, 15, 0]])]
    assert max_box_accuracy(maps, foreground, version="v1")["max_box_acc"] == 0
    assert max_box_accuracy(maps, foreground, boxes=boxes, version="v1")["max_box_acc"] == 1
    with pytest.raises(ValueError, match="1 images need as many sets of boxes, not 2"):
        max_box_accuracy(maps, foreground, boxes=boxes * 2)


def test_images_without_foreground_are_skipped_and_counted() -> None:
    metric = MaxBoxAccuracy()
    metric.update(torch.rand(3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.bool), torch.tensor([True, False, True]))
    assert (metric.count, metric.skipped) == (0, 3)
    assert all(value.isnan() for value in metric.compute().values())


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="'v1' or 'v2', not 'v3'"):
        MaxBoxAccuracy("v3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="thresholds has to be at least 1"):
        MaxBoxAccuracy(thresholds=0)
    with pytest.raises(ValueError, match=r"has to lie in \[0, 1\]"):
        MaxBoxAccuracy().update(row(0.5, 1.5), row(1, 0).bool())
