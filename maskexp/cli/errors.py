"""Errors as sentences: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["CommandError", "did_you_mean", "one_sentence"]

ALIKE, NEARLY_AS_GOOD = 0.6, 0.05
"""Likeness from which a choice is worth suggesting, and how far behind the best one it may be."""

EXPECTED = (ValueError, OSError, ImportError)
"""Errors whose message was written for the user; any other is a surprise and says its type."""


class CommandError(Exception):
    """The command cannot be run as it was given; the message is a sentence for the user."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest choices, or the list of all.

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
        return f"choose from {', '.join(names)}"
    close = [repr(name) for name in names if likeness[name] >= max(ALIKE, best - NEARLY_AS_GOOD)]
    return f"did you mean {' or '.join(close)}?"


def one_sentence(error: BaseException, debug: bool = False) -> str:
    """Return the message for the terminal.

    The message of an error that was raised for the user is kept, its lines included where they were laid out on
    purpose (a data set that was not found lists where it looked). A surprise also names its type.
    """
    message = str(error).strip() or type(error).__name__
    if isinstance(error, FileNotFoundError) and error.filename is not None and error.strerror:
        message = f"there is no file or folder {str(error.filename)!r}"
    if isinstance(error, (CommandError, *EXPECTED)):
        return message
    # Lightning's mistakes in the set-up come from the user's settings, and are written for the user.
    if type(error).__name__ == "MisconfigurationException":
        return re.sub(r"\s+", " ", message)
    hint = "" if debug else "; run again with --debug for the traceback"
    return f"{type(error).__name__}: {message.rstrip(' .')}{hint}"
