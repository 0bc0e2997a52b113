"""What can be wrong with data; each message says what was wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["CorruptImageError", "DataError", "DatasetNotFoundError"]


class DataError(ValueError):
    """The data is there, but not as it has to be."""

    def __init__(self, message: str) -> None:
        """Keep the sentence of an error that a loader's process raised; its traceback becomes a note.

        PyTorch's loader raises a worker's error anew in the main process, with the whole traceback as its message.
        """
        marker = f"{type(self).__module__}.{type(self).__qualname__}: "
        traceback, found, sentence = message.rpartition(marker)
        if found and traceback.startswith("Caught "):
            super().__init__(sentence.rstrip())
            self.add_note(traceback)
        else:
            super().__init__(message)


class CorruptImageError(DataError):
    """An image or mask file cannot be decoded as a whole."""


class DatasetNotFoundError(FileNotFoundError):
    """The folder or file that holds the data is missing."""

    @classmethod
    def explained(cls, name: str, looked_for: str, get_it: str, set_by: str) -> DatasetNotFoundError:
        """Say what is missing, where it was looked for and how to get it.

        Args:
            name: the data set in words.
            looked_for: the path that is missing.
            get_it: how the data can be had.
            set_by: the argument that sets the path.
        """
        return cls(f"{name} not found.\n  looked for  {looked_for}\n  get it      {get_it}\n  set by      {set_by}")
