"""What a data set is, in words: the part of its declaration that lists and tables show. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["DatasetInfo", "Download"]


@dataclass(frozen=True, slots=True)
class Download:
    """A published file whose address and checksum are known.

    Attributes:
        file: name of the file.
        url: address.
        md5: checksum, as published.
        makes: file or folder that exists once it is unpacked.
        size: in bytes; 0 where it is not published.
    """

    file: str
    url: str
    md5: str
    makes: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set in words.

    Attributes:
        name: of its datamodule, as ``--data`` takes it.
        title: name in sentences.
        summary: one line.
        paper: authors and place of publication.
        images: how many in train / val / test, where that is fixed.
        size: of the download; ``≈`` marks what is not confirmed, ``–`` what is not known.
        automatic: whether ``maskexp data prepare`` downloads it (``yes``), ``maskexp data make`` makes it
            (``generated``), or somebody has to fetch it (``manual``).
        command: exactly what brings it into place, once a manual download lies in the working directory.
        foreground: what the foreground can be.
        get: where the data is.
        licence: under which conditions.
        downloads: files with a published address and checksum, by the name that ``maskexp data prepare`` takes.
    """

    name: str
    title: str
    summary: str
    paper: str
    images: str
    size: str
    automatic: Literal["yes", "generated", "manual"]
    command: str
    foreground: str
    get: str
    licence: str
    downloads: Mapping[str, tuple[Download, ...]] = field(default_factory=dict)

    @property
    def way(self) -> str:
        """Where the data is and what brings it into place, for messages."""
        return f"{self.get}; then {self.command}"
