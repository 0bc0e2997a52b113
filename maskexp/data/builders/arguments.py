"""What can be said about each data set besides its root: the arguments of its datamodule, for the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from maskexp.data.builders.own import prepare_own
from maskexp.data.builders.registry import LAYOUTS

__all__ = ["ARGUMENTS", "COMMON", "Argument"]

COMMON = {
    "val_fraction": "share of the training pictures held out for validation",
    "val_seed": "seed of the pictures held out",
    "split_seed": "seed of the random split",
}
"""What arguments of several data sets mean."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What somebody may say about where data lies, and which part of it is meant.

    Attributes:
        kind: ``str``, ``int``, ``float``, ``list`` (of str) or ``dict`` (of str by str).
        meaning: in words.
    """

    kind: type
    meaning: str


def arguments_of(find: Callable[..., Any], meanings: Mapping[str, str]) -> dict[str, Argument]:
    """Return the arguments of a function besides the root, each with the type of its default or annotation.

    Args:
        find: a layout's ``find``, or another function that looks data up.
        meanings: of the arguments, those of :data:`COMMON` excepted.
    """
    arguments = {}
    for name, parameter in inspect.signature(find).parameters.items():
        if name not in ("root", "cache_dir"):
            kinds = {"float": float, "Sequence": list, "Mapping": dict}
            named = next((kind for word, kind in kinds.items() if word in str(parameter.annotation)), str)
            kind = named if parameter.default is None else type(parameter.default)
            arguments[name] = Argument(kind, meanings.get(name) or COMMON[name])
    return arguments


OWN = {
    "csv": "CSV file with the columns image, label …",
    "masks": "folder of the masks",
    "columns": "columns that are called otherwise, as role=column,role=column",
    "classes": "names of the labels in order, as a,b,c",
    "attributes": "names of the attribute's values in order, as a,b,c",
}
ARGUMENTS: Final[dict[str, dict[str, Argument]]] = {
    **{name: arguments_of(layout.find, layout.places) for name, layout in LAYOUTS.items()},
    "Manifest": arguments_of(prepare_own, OWN),
}
"""Arguments by their name, of each datamodule whose data lies in files."""
