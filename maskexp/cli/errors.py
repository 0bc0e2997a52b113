"""Errors as sentences: what was wrong, where, and what to do."""

from __future__ import annotations

import re

__all__ = ["CommandError", "one_sentence"]

EXPECTED = (ValueError, OSError, ImportError)
"""Errors whose message was written for the user; any other is a surprise and says its type."""


class CommandError(Exception):
    """The command cannot be run as it was given; the message is a sentence for the user."""


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
