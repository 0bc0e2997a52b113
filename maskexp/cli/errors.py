"""Errors as sentences: what was wrong, where, and what to do."""

from __future__ import annotations

import os
import re

from maskexp.files import names_full_disk

__all__ = ["CommandError", "one_sentence"]

EXPECTED = (ValueError, OSError, ImportError)
"""Errors whose message was written for the user; any other is a surprise."""


class CommandError(Exception):
    """The command cannot be run as it was given; the message is a sentence for the user."""


def one_sentence(error: BaseException, debug: bool = False) -> str:
    """Return the message for the terminal.

    The message of an error that was raised for the user is kept, its lines included where they were laid out on
    purpose (a data set that was not found lists where it looked). A surprise says that it is one.
    """
    if isinstance(error, CommandError):
        return str(error).strip()
    if isinstance(error, OSError) and error.errno and error.strerror:
        return _of_system(error)
    message = str(error).strip()
    if isinstance(error, EXPECTED) and not isinstance(error, UnicodeError) and message:
        return message
    # Lightning's mistakes in the set-up come from the user's settings, and are written for the user.
    if type(error).__name__ == "MisconfigurationException":
        return re.sub(r"\s+", " ", message)
    hint = "" if debug else "; run again with --debug for the traceback, and report it"
    return f"maskexp did not foresee this: {message.rstrip(' .') or 'an error without a message'}{hint}"


def _of_system(error: OSError) -> str:
    """Return what the system refused, and where."""
    names = (os.fsdecode(name) for name in (error.filename2, error.filename) if isinstance(name, (str, bytes)))
    name = next(names, "")
    if isinstance(error, FileNotFoundError) and name:
        return f"there is no file or folder {name!r}"
    if names_full_disk(error):
        return f"{name or 'a file'} cannot be written: the disk is full; make room or choose another folder"
    return f"{name or 'a file'} cannot be read or written: {str(error.strerror).lower()}"
