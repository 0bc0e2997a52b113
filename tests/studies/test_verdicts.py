"""Verdicts against values computed independently with scipy.stats."""

from __future__ import annotations

import pytest
from scipy import stats

from maskexp.studies import Comparison, Sample, compare, compare_rows

OURS = [94.0, 94.5, 94.3, 94.1, 94.8]


def test_mean_and_standard_deviation_with_ddof_1() -> None:
    sample = Sample.of(OURS)
    assert (sample.mean, sample.n) == (pytest.approx(94.34), 5)
    assert sample.std == pytest.approx(0.320936, abs=1e-6)
    assert Sample.of([3.0]) == Sample(3.0, None, 1)


def test_welch_interval_is_that_of_scipy_from_the_same_runs() -> None:
    other = [93.0, 95.1, 94.6]
    theirs = Sample.of(other)
    found = compare(Sample.of(OURS), theirs.mean, theirs.std, 3, margin=None)
    expected = stats.ttest_ind(OURS, other, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.test == "Welch's t, published n = 3"


def test_without_a_published_deviation_the_published_mean_is_taken_as_exact() -> None:
    found = compare(Sample.of(OURS), 94.0, None, None, margin=None)
    expected = stats.ttest_1samp(OURS, 94.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low - 94.0, expected.high - 94.0))
    assert found.test == "one-sample t, published taken as exact"


@pytest.mark.parametrize(
    ("mean", "std", "n", "margin", "verdict"),
    [
        (90.0, 0.4, 5, 10.0, "differs"),  # the interval excludes 0, whatever the margin
        (94.33, 0.37, 5, 1.0, "agrees"),
        (94.33, 0.37, 5, 0.1, "undecided"),  # the interval is wider than the margin
        (94.33, 0.37, 5, None, "undecided"),  # no margin, no agreement
        (94.33, 5.0, 5, 1.0, "undecided"),
        (94.33, 0.37, None, 1.5, "agrees"),  # for 3, 5 and 10 runs alike
        (95.0, 0.35, None, 1.0, "undecided"),  # depends on the number of runs
    ],
)
def test_verdicts(mean: float, std: float, n: int | None, margin: float | None, verdict: str) -> None:
    assert compare(Sample.of(OURS), mean, std, n, margin).verdict == verdict


def test_an_unknown_number_of_published_runs_shows_the_widest_interval() -> None:
    unknown = compare(Sample.of(OURS), 95.0, 0.35, None, 1.0)
    tried = [compare(Sample.of(OURS), 95.0, 0.35, n, 1.0) for n in (3, 5, 10)]
    assert {one.verdict for one in tried} == {"undecided", "differs"}
    assert unknown.interval == tried[0].interval
    assert "unknown, tried 3, 5, 10" in unknown.test


def test_one_run_allows_no_verdict() -> None:
    assert compare(Sample.of([94.0]), 93.0, 0.1, 5, 1.0) == Comparison("n < 2", 1.0)


def test_equal_runs_without_any_spread() -> None:
    assert compare(Sample.of([1.0, 1.0]), 1.0, 0.0, 3, 0.1).verdict == "agrees"
    assert compare(Sample.of([1.0, 1.0]), 2.0, 0.0, 3, 5.0).verdict == "differs"


def test_within_the_published_deviation_is_not_the_criterion() -> None:
    """Three equal replications may lie outside the published ± without a difference that three runs could show."""
    found = compare(Sample.of([0.0, 2.0, 4.0]), 0.5, 1.0, 3, margin=None)
    assert abs(found.difference or 0) > 1.0
    assert found.verdict == "undecided"


def test_two_rows_are_compared_by_welchs_interval_of_their_runs() -> None:
    other = [93.0, 93.1, 92.6]
    found = compare_rows(Sample.of(OURS), Sample.of(other), margin=None)
    expected = stats.ttest_ind(OURS, other, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (found.verdict, found.test) == ("differs", "Welch's t")
    assert compare_rows(Sample.of(other), Sample.of(OURS), None).difference == pytest.approx(-1.44)
    assert compare_rows(Sample.of(OURS), Sample.of([1.0]), None).verdict == "n < 2"


def test_equal_numbers_differ_by_nothing_however_many_there_are() -> None:
    for value in (0.1, 0.247, 0.7):
        found = compare_rows(Sample.of([value] * 3), Sample.of([value] * 2), margin=0.01)
        assert (found.difference, found.verdict) == (0.0, "agrees")
