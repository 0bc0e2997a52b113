"""Does what we measured differ from what was published, or from another row; agree with it; or is that undecided?

Both sides are few runs. "Within the published standard deviation" would disown a third of perfect replications, and a
test that does not reject is no agreement; so the difference of the means gets a 95 % interval (Welch), and the verdict
is read off it: it *differs* where the interval excludes 0, it *agrees* where the interval lies inside a margin that was
stated beforehand, and is *undecided* otherwise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["LEVEL", "Comparison", "Sample", "Verdict", "compare", "compare_rows"]

LEVEL = 0.95
LIKELY_COUNTS = (3, 5, 10)
"""Numbers of published runs that are tried where the paper does not say it."""

Verdict = Literal["differs", "agrees", "undecided", "not run", "other data", "n < 2"]


@dataclass(frozen=True)
class Sample:
    """Runs that differ in their seed alone.

    Example:
        >>> sample = Sample.of([94.0, 94.5, 94.3, 94.1, 94.8])
        >>> round(sample.mean, 2), round(sample.std, 3), sample.n
        (94.34, 0.321, 5)
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        """Return mean and standard deviation (ddof 1; None for one value)."""
        std = statistics.stdev(values) if len(values) > 1 else None
        # Exact: the mean of equal values is that value, and two rows that are equal differ by nothing.
        return cls(float(statistics.mean(values)), std, len(values))


@dataclass(frozen=True)
class Comparison:
    """A verdict and what it was read off.

    Attributes:
        verdict: see the module.
        difference: ours minus published, or one row minus the other; None where there is nothing to compare.
        interval: its 95 % interval; the widest where the number of published runs is not known.
        test: name of the test, with what it takes for granted.
    """

    verdict: Verdict
    difference: float | None = None
    interval: tuple[float, float] | None = None
    test: str = ""


def compare(ours: Sample, mean: float, std: float | None, n: int | None, margin: float | None) -> Comparison:
    """Compare our runs with a published mean.

    Args:
        ours: at least one run.
        mean: published.
        std: published standard deviation; None takes the published mean as exact.
        n: number of published runs; None gives a verdict only where it is the same for 3, 5 and 10 runs.
        margin: largest absolute difference that counts as agreement; None: agreement cannot be stated.
    """
    difference = ours.mean - mean
    if ours.std is None:
        return Comparison("n < 2", difference)
    if std is None or n == 1:
        interval = _around(difference, ours.std / math.sqrt(ours.n), ours.n - 1)
        return Comparison(_verdict(interval, margin), difference, interval, "one-sample t, published taken as exact")
    counts = LIKELY_COUNTS if n is None else (n,)
    intervals = [_welch(difference, ours.std, ours.n, std, count) for count in counts]
    verdicts = {_verdict(interval, margin) for interval in intervals}
    widest = max(intervals, key=lambda interval: interval[1] - interval[0])
    known = f"published n = {n}" if n is not None else f"published n unknown, tried {', '.join(map(str, counts))}"
    verdict = verdicts.pop() if len(verdicts) == 1 else "undecided"
    return Comparison(verdict, difference, widest, f"Welch's t, {known}")


def compare_rows(one: Sample, other: Sample, margin: float | None) -> Comparison:
    """Compare the runs of two rows of ours.

    Runs of one seed are not taken in pairs: two or three differences bound a mean too loosely, and where such runs go
    together, Welch's interval is only wider than it need be.

    Args:
        one: runs of a row.
        other: runs of another, which is subtracted.
        margin: largest absolute difference that counts as agreement; None: agreement cannot be stated.
    """
    difference = one.mean - other.mean
    if one.std is None or other.std is None:
        return Comparison("n < 2", difference)
    interval = _welch(difference, one.std, one.n, other.std, other.n)
    return Comparison(_verdict(interval, margin), difference, interval, "Welch's t")


def _welch(difference: float, std: float, n: int, other_std: float, other_n: int) -> tuple[float, float]:
    """Return the interval of a difference of means by Welch's test (Welch, Biometrika 1947)."""
    ours, theirs = std**2 / n, other_std**2 / other_n
    total = ours + theirs
    if total == 0:
        return difference, difference
    freedom = total**2 / (ours**2 / (n - 1) + theirs**2 / (other_n - 1))
    return _around(difference, math.sqrt(total), freedom)


def _around(difference: float, error: float, freedom: float) -> tuple[float, float]:
    from scipy.special import stdtrit  # a third of a second that only a table with published numbers needs

    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return difference - half, difference + half


def _verdict(interval: tuple[float, float], margin: float | None) -> Verdict:
    low, high = interval
    if low > 0 or high < 0:
        return "differs"
    return "agrees" if margin is not None and -margin <= low and high <= margin else "undecided"
