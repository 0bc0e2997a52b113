"""What a part of the audit ends in: a number with its interval, a control, a verdict, a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["HIDES_NOTHING", "SHOWS_NOTHING", "VERDICTS", "Estimate", "Finding", "Resampling", "percent"]

VERDICTS: dict[str, str] = {
    "sealed": "what the mask hides hardly decides",
    "open": "what the mask hides decides too",
    "no leak": "the mask tells no more of the class than it may",
    "leak": "the mask itself carries the class",
    "sufficient": "what is shown is enough for the decision",
    "insufficient": "what is shown is not enough for the decision",
    "complete": "what is left over no longer makes the decision",
    "incomplete": "what is left over makes the decision just as well",
    "stable": "masks stay where they are",
    "unstable": "masks do not stay where they are",
    "right reasons": "most right decisions look at the foreground",
    "wrong reasons": "most right decisions look elsewhere",
    "undecided": "the interval holds both answers",
    "not asked": "the data or the network does not allow the question",
}
"""All verdicts, and what each says."""

HIDES_NOTHING = "every mask shows the whole image, so that nothing is hidden"
"""Why a question about what is hidden cannot be put."""

SHOWS_NOTHING = "no mask shows some pixels and hides others, so that there is nothing to take away"
"""Why a question about what is shown cannot be put."""

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its bootstrap interval.

    Attributes:
        value: the mean; NaN where there is no image.
        low: lower end of the 95 % percentile interval.
        high: its upper end.
        n: number of images.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Return the share in per cent with its interval."""
        return "–" if not self.n else f"{percent(self.value)} [{100 * self.low:.0f}, {100 * self.high:.0f}]"

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain numbers, None where there are none."""
        return {"value": _plain(self.value), "low": _plain(self.low), "high": _plain(self.high), "n": self.n}


@dataclass(frozen=True)
class Finding:
    """What a part of the audit ends in.

    Attributes:
        part: its name, e.g. ``hidden_influence``.
        question: what was asked, in words.
        number: the answer.
        control: the number that it has to be compared with.
        control_name: what the control is, in words.
        verdict: one of :data:`VERDICTS`.
        sentence: the verdict as a plain sentence with its numbers.
        details: further numbers by name, which JSON and metrics show too.
        groups: for each group, numbers of images by what they are; empty where a part does not look at groups.
        rows: rows of the split that the sentence speaks of, such as those that are right for the wrong reason.
    """

    part: str
    question: str
    number: Estimate
    control: Estimate
    control_name: str
    verdict: str
    sentence: str
    details: Mapping[str, Estimate] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rows: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "part": self.part,
            "question": self.question,
            "number": self.number.to_dict(),
            "control": {"name": self.control_name, **self.control.to_dict()},
            "verdict": self.verdict,
            "sentence": self.sentence,
            "details": {name: estimate.to_dict() for name, estimate in self.details.items()},
            "groups": {name: dict(counts) for name, counts in self.groups.items()},
            "rows": list(self.rows),
        }

    @classmethod
    def not_asked(cls, part: str, question: str, reason: str) -> Finding:
        """Return what is said of a question that cannot be put."""
        nothing = Estimate(math.nan, math.nan, math.nan, 0)
        return cls(part, question, nothing, nothing, "", "not asked", f"Not asked: {reason}.")


@dataclass(frozen=True)
class Resampling:
    """The bootstrap of the audit: percentile intervals over images, seeded.

    Attributes:
        resamples: how many.
        seed: of the draws; two estimates of as many images use the same ones, so that equal values have equal
            intervals.
    """

    resamples: int
    seed: int

    def __call__(self, values: Tensor) -> Estimate:
        """Return the mean of one value an image, ``(N,)``; NaN marks images that do not count."""
        known = values.detach().cpu().double().numpy()
        known = known[~np.isnan(known)]
        count = len(known)
        if not count:
            return Estimate(math.nan, math.nan, math.nan, 0)
        draw = np.random.default_rng([self.seed, count])
        means = np.array([known[draw.integers(0, count, count)].mean() for _ in range(self.resamples)])
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(float(known.mean()), float(low), float(high), count)


def percent(share: float) -> str:
    """Return a share in per cent."""
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
