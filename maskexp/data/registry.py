"""All data sets by the name of their datamodule, found in :mod:`maskexp.data.datasets`. Needs no torch."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

from docstring_parser import parse_from_object

from maskexp.data import datasets
from maskexp.data.datasets.synthetic_birds import INFO as SYNTHETIC_BIRDS
from maskexp.data.info import DatasetInfo, Download
from maskexp.data.manifest.layout import DataSource

__all__ = ["COLUMNS", "DATASETS", "DOWNLOADS", "SOURCES", "Argument", "arguments_of", "markdown_table"]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a data set.

    Attributes:
        kind: its type, as the command line takes it; a path is text.
        required: whether it has no default.
        default: value if it is not given.
        help: what it means.
    """

    kind: Any
    required: bool
    default: Any
    help: str


def _declared() -> dict[str, type[DataSource]]:
    """Import every module of :mod:`maskexp.data.datasets` and return the sources that they declare."""
    found: dict[str, type[DataSource]] = {}
    for module in sorted(iter_modules(datasets.__path__), key=lambda module: module.name):
        for value in vars(import_module(f"{datasets.__name__}.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, DataSource) and "info" in vars(value):
                found[value.info.name] = value
    return dict(sorted(found.items(), key=lambda item: (item[0] == "Manifest", item[0].lower())))


SOURCES: Final[dict[str, type[DataSource]]] = _declared()
"""Data sets in files by name, a user's own data last."""
DATASETS: Final[dict[str, DatasetInfo]] = {
    SYNTHETIC_BIRDS.name: SYNTHETIC_BIRDS,
    **{name: source.info for name, source in SOURCES.items()},
}
"""All data sets in words, the embedded default first."""
DOWNLOADS: Final[dict[str, tuple[Download, ...]]] = {
    name: files for info in DATASETS.values() for name, files in info.downloads.items()
}
"""Files whose address *and* checksum are published, by the name that ``maskexp data prepare`` takes."""
COLUMNS: Final[dict[str, str]] = {
    "images": "images (train / val / test)",
    "size": "download",
    "automatic": "automatic",
    "command": "command",
    "foreground": "foreground",
    "licence": "licence",
}
"""Attributes of :class:`DatasetInfo` that lists and the documentation show, with the titles of their columns."""


def arguments_of(source: type[DataSource]) -> dict[str, Argument]:
    """Return the arguments of a data set, from signature and docstring of its ``find``.

    Example:
        >>> arguments_of(SOURCES["CelebA"])["target"].default
        'Blond_Hair'
    """
    texts = {text.arg_name: text.description or "" for text in parse_from_object(source.find).params}
    kinds = typing.get_type_hints(source.find)
    arguments = {}
    for name, parameter in inspect.signature(source.find).parameters.items():
        if name != "cache_dir":  # every datamodule in files has it
            required = parameter.default is parameter.empty
            default = None if required else parameter.default
            arguments[name] = Argument(_as_text(kinds[name]), required, default, " ".join(texts[name].split()))
    return arguments


def markdown_table() -> str:
    """Return all data sets as the table of the documentation."""
    lines = [["name", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    for info in DATASETS.values():
        facts = {column: str(getattr(info, column)) for column in COLUMNS}
        lines.append([f"`{info.name}`", *({**facts, "command": f"`{info.command}`"}.values())])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _as_text(kind: Any) -> Any:
    """Return a type in which paths are text."""
    if kind is Path:
        return str
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = dict.fromkeys(_as_text(part) for part in typing.get_args(kind))
        return typing.Union[tuple(parts)]  # noqa: UP007, the members are only known now
    return kind
