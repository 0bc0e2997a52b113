"""Tables and lists as text, whatever they turn out to be."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from maskexp.data.errors import DataError

__all__ = ["opened_text", "text_of"]


@contextmanager
def opened_text(path: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8, with or without a byte order mark, for csv's readers or line by line.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is not text in UTF-8 or, where it is read as a table, no table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not written in UTF-8; save it as a CSV or text file in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is no table that can be read: a cell holds a zero byte or is endless") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file") from error


def text_of(path: Path) -> str:
    """Return what a text file holds; see :func:`opened_text`."""
    with opened_text(path) as file:
        return file.read()
