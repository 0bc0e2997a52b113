"""What can be wrong with data; each message says what was wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["CorruptImageError", "DataError", "DatasetNotFoundError"]


class DataError(ValueError):
    """The data is there, but not as it has to be."""


class CorruptImageError(DataError):
    """An image or mask file cannot be decoded as a whole."""


class DatasetNotFoundError(FileNotFoundError):
    """The folder or file that holds the data is missing."""

    def __init__(self, name: str, looked_for: str, get_it: str, set_by: str) -> None:
        """Say what is missing, where it was looked for and how to get it.

        Args:
            name: the data set in words.
            looked_for: the path that is missing.
            get_it: how the data can be had.
            set_by: the argument that sets the path.
        """
        super().__init__(
            f"{name} not found.\n  looked for  {looked_for}\n  get it      {get_it}\n  set the path with  {set_by}"
        )
