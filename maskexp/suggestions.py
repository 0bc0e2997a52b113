"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]

ALIKE, NEARLY_AS_GOOD, MOST = 0.6, 0.05, 3
"""Likeness from which a choice is worth suggesting, how far behind the best one it may be, and how many are named."""


def did_you_mean(word: str, choices: Iterable[str], otherwise: str | None = None) -> str:
    """Return ``did you mean 'x'?`` for the closest choices, however they are capitalised.

    Args:
        word: what was given.
        choices: what is known.
        otherwise: what to return where nothing is close; the list of all choices if not given.

    Example:
        >>> did_you_mean("tset", ["fit", "test"])
        "did you mean 'test'?"
        >>> did_you_mean("quux", ["fit", "test"])
        'choose from fit, test'
    """
    names = list(choices)
    likeness = {name: difflib.SequenceMatcher(None, word.lower(), name.lower()).ratio() for name in names}
    best = max(likeness.values(), default=0.0)
    if best < ALIKE:
        return f"choose from {', '.join(names)}" if otherwise is None else otherwise
    close = [repr(name) for name in names if likeness[name] >= max(ALIKE, best - NEARLY_AS_GOOD)]
    return f"did you mean {' or '.join(close[:MOST])}?"
