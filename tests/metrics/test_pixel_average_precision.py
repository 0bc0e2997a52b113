"""Pixel average precision against hand-made cases, scikit-learn and the published evaluation's values (in percent)."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from maskexp.metrics import PixelAveragePrecision
from maskexp.metrics.functional import minmax_normalize, pixel_average_precision
from tests.metrics.maps import drawn_maps, row, two_ramps


def percent(maps: Tensor, foreground: Tensor, **kwargs: object) -> float:
    return 100 * pixel_average_precision(maps, foreground, **kwargs).item()  # type: ignore[arg-type]


@pytest.mark.parametrize("bins", [None, 1000, 100, 10])
def test_eight_pixels_by_hand(bins: int | None) -> None:
    scores, truth = row(0.95, 0.85, 0.75, 0.65, 0.45, 0.35, 0.25, 0.15), row(1, 1, 0, 1, 0, 0, 1, 0).bool()
    assert percent(scores, truth, bins=bins) == pytest.approx(25 * (1 + 1 + 3 / 4 + 4 / 7), abs=1e-9)


@pytest.mark.parametrize(("bins", "expected"), [(None, 83.035714), (1000, 83.035714), (100, 83.035714)])
def test_scores_on_bin_edges(bins: int | None, expected: float) -> None:
    scores, truth = row(0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1), row(1, 1, 0, 1, 0, 0, 1, 0).bool()
    assert percent(scores, truth, bins=bins) == pytest.approx(expected, abs=1e-6)


def test_ramps_have_the_sums_that_the_expected_values_were_made_with() -> None:
    maps, foreground = two_ramps()
    assert maps.sum(dim=(1, 2)).tolist() == pytest.approx([132.9552931949, 139.4409658681], abs=1e-10)
    assert foreground.sum(dim=(1, 2)).tolist() == [29, 81]


@pytest.mark.parametrize(
    ("bins", "pooled", "first", "second", "image_mean"),
    [
        (None, 48.938869, 43.418671, 56.893828, 50.156249),
        (1000, 48.722057, 42.201745, 56.898339, 49.550042),
        (100, 48.356407, None, None, None),
        (10, 42.956812, 36.581288, 51.089825, None),
    ],
)
def test_pooled_is_not_the_mean(
    bins: int | None, pooled: float, first: float | None, second: float | None, image_mean: float | None
) -> None:
    maps, foreground = two_ramps()
    assert percent(maps, foreground, bins=bins) == pytest.approx(pooled, abs=1e-6)
    if first is not None and second is not None:
        assert percent(maps[:1], foreground[:1], bins=bins) == pytest.approx(first, abs=1e-6)
        assert percent(maps[1:], foreground[1:], bins=bins) == pytest.approx(second, abs=1e-6)
    if image_mean is not None:
        assert percent(maps, foreground, bins=bins, average="image") == pytest.approx(image_mean, abs=1e-6)


def test_histograms_of_ten_bins() -> None:
    maps, foreground = two_ramps()
    expected = [
        ([1, 7, 23, 40, 44, 44, 39, 23, 5, 1, 0], [0, 0, 0, 0, 2, 6, 7, 5, 6, 3, 0]),
        ([0, 4, 20, 33, 25, 32, 35, 24, 2, 0, 0], [0, 0, 0, 3, 16, 20, 14, 14, 8, 6, 0]),
    ]
    for i, (negative, positive) in enumerate(expected):
        metric = PixelAveragePrecision(bins=10)
        metric.update(maps[i : i + 1], foreground[i : i + 1])
        assert metric.histograms.dtype == torch.int64
        assert metric.histograms.tolist() == [negative, positive]


def test_scaling_of_single_maps() -> None:
    maps, foreground = two_ramps()
    assert percent(maps, foreground, bins=None, normalize=True) == pytest.approx(47.562076, abs=1e-6)
    assert percent(5 - 3 * (1 - maps), foreground, bins=None, normalize=True) == pytest.approx(47.562076, abs=1e-6)
    halved = maps * torch.tensor([0.5, 1.0])[:, None, None]
    assert percent(halved, foreground, bins=None) == pytest.approx(51.372599, abs=1e-6)
    assert percent(halved, foreground, bins=None, average="image") == pytest.approx(50.156249, abs=1e-6)
    assert percent(maps**2, foreground, bins=None) == pytest.approx(48.938869, abs=1e-6)


def test_empty_map_and_empty_foreground() -> None:
    maps, foreground = two_ramps()
    first = torch.tensor([1.0, 0.0])[:, None, None]
    assert percent(maps * first, foreground, bins=None) == pytest.approx(27.267053, abs=1e-6)
    assert percent(maps * first, foreground) == pytest.approx(26.946226, abs=1e-6)
    assert percent(maps, foreground & first.bool(), bins=None) == pytest.approx(19.788433, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bins", [None, 1000])
def test_constant_map_scores_the_prevalence(value: float, bins: int | None) -> None:
    foreground = torch.arange(100).view(1, 10, 10) < 20
    assert percent(torch.full((1, 10, 10), value), foreground, bins=bins) == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize("bins", [None, 1000, 1])
def test_perfect_and_inverted_map(bins: int | None) -> None:
    foreground = torch.arange(100).view(1, 10, 10) < 20
    assert percent(foreground.double(), foreground, bins=bins) == pytest.approx(100.0, abs=1e-9)
    assert percent((~foreground).double(), foreground, bins=bins) == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize("bins", [None, 1000])
def test_low_scores_count(bins: int | None) -> None:
    scores = torch.tensor([0.9] * 50 + [0.01] * 50 + [0.02] * 900).view(1, 1, -1)
    foreground = torch.arange(1000).view(1, 1, -1) < 100
    assert percent(scores, foreground, bins=bins) == pytest.approx(55.0, abs=1e-6)
    scores = torch.tensor([0.9] * 60 + [0.03] * 40 + [0.6] * 45 + [0.03] * 855).view(1, 1, -1)
    assert percent(scores, foreground, bins=bins) == pytest.approx(64.0, abs=1e-6)


@pytest.mark.parametrize(("scores", "exact"), [((0.1004, 0.1005, 0.05), 100.0), ((0.1005, 0.1004, 0.05), 50.0)])
def test_scores_of_one_bin_are_tied(scores: tuple[float, ...], exact: float) -> None:
    truth = row(0, 1, 0).bool()
    assert percent(row(*scores), truth, bins=None) == pytest.approx(exact, abs=1e-9)
    assert percent(row(*scores), truth) == pytest.approx(50.0, abs=1e-9)


@pytest.mark.parametrize("bins", [None, 1000])
def test_ignored_pixels_count_neither_way(bins: int | None) -> None:
    pixel = torch.arange(100).view(1, 10, 10)
    scores, foreground = ((37 * pixel) % 100) / 99, pixel < 20
    ignore = (pixel >= 50) & (pixel < 60)
    assert percent(scores, foreground, ignore=ignore, bins=bins) == pytest.approx(23.169054, abs=1e-6)
    assert percent(scores, foreground, bins=bins) == pytest.approx(20.210646, abs=1e-6)


@pytest.mark.parametrize("score_of_ignored", [0.0, 1.0])
def test_perfect_map_stays_perfect_whatever_it_says_about_ignored_pixels(score_of_ignored: float) -> None:
    pixel = torch.arange(100).view(1, 10, 10)
    foreground, ignore = pixel < 20, (pixel >= 50) & (pixel < 60)
    maps = torch.where(ignore, score_of_ignored, foreground.double())
    assert percent(maps, foreground, ignore=ignore) == pytest.approx(100.0, abs=1e-9)


@pytest.mark.parametrize(("bins", "expected"), [(None, 65.727099), (1000, 65.685959), (100, 65.31671)])
def test_r_drawn_maps(bins: int | None, expected: float) -> None:
    maps, foreground = drawn_maps()
    assert percent(maps, foreground, bins=bins) == pytest.approx(expected, abs=1e-6)


def test_r_mean_over_images() -> None:
    maps, foreground = drawn_maps()
    assert percent(maps, foreground, bins=None, average="image") == pytest.approx(65.733608, abs=1e-6)


@pytest.mark.parametrize("decimals", [16, 1])
def test_exact_value_is_that_of_scikit_learn(decimals: int) -> None:
    maps, foreground = drawn_maps()
    maps = maps.round(decimals=decimals)
    expected = average_precision_score(foreground.flatten().numpy(), maps.flatten().numpy())
    assert pixel_average_precision(maps, foreground, bins=None).item() == pytest.approx(expected, abs=1e-12)


def test_images_without_ground_truth_are_left_out() -> None:
    maps, foreground = two_ramps()
    present = torch.tensor([False, True])
    assert percent(maps, foreground, has_foreground=present) == pytest.approx(56.898339, abs=1e-6)
    assert percent(maps, foreground, has_foreground=present, average="image") == pytest.approx(56.898339, abs=1e-6)


@pytest.mark.parametrize("average", ["pooled", "image"])
def test_no_foreground_is_nan_with_a_warning(average: str) -> None:
    metric = PixelAveragePrecision(average=average)  # type: ignore[arg-type]
    metric.update(torch.rand(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool))
    with pytest.warns(UserWarning, match="no foreground pixel"):
        assert metric.compute().isnan()
    with pytest.warns(UserWarning, match="no foreground pixel"):
        assert pixel_average_precision(
            torch.rand(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool), bins=None, average=metric.average
        ).isnan()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"NaN or infinite values in images \[1\]"),
        (float("inf"), r"NaN or infinite values in images \[1\]"),
        (-0.25, r"lie in \[0, 1\], but ranges from -0.25 to 0.5"),
        (1.5, r"lie in \[0, 1\], but ranges from 0.5 to 1.5"),
    ],
)
def test_bad_scores_are_refused(value: float, message: str) -> None:
    maps = torch.full((2, 1, 4, 4), 0.5)
    maps[1, 0, 2, 2] = value
    with pytest.raises(ValueError, match=message):
        PixelAveragePrecision().update(maps, torch.ones(2, 1, 4, 4, dtype=torch.bool))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="bins has to be at least 1"):
        PixelAveragePrecision(bins=0)
    with pytest.raises(ValueError, match="'pooled' or 'image'"):
        PixelAveragePrecision(average="macro")  # type: ignore[arg-type]


def test_minmax_of_a_constant_map_is_zero() -> None:
    maps = torch.stack([torch.full((2, 2), 3.0), torch.tensor([[-1.0, 0.0], [1.0, 3.0]])])
    assert minmax_normalize(maps).tolist() == [[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.25], [0.5, 1.0]]]
