"""Checkpoints that are enough by themselves, and that need not be trusted."""

from __future__ import annotations

import os
from typing import Any

from maskexp._version import __version__
from maskexp.serialization import load_tensors
from maskexp.types import DataSpec

_ENTRY = "maskexp"
"""Key of a checkpoint under which the method's name, our version and the data's specification stand."""


class CheckpointError(ValueError):
    """A file is not a checkpoint of ours, or does not fit the data or the methods at hand."""


def describe(method: str, spec: DataSpec) -> dict[str, Any]:
    """Return the entry that makes a checkpoint of ``method`` enough by itself."""
    return {_ENTRY: {"method": method, "version": __version__, "data_spec": spec.to_dict()}}


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint without running code that it may hold.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is not a checkpoint that maskexp wrote.
    """
    try:
        content = load_tensors(path)
    except ValueError as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    if _ENTRY not in content:
        raise CheckpointError(f"{os.fspath(path)} is not a checkpoint of maskexp: it has no {_ENTRY!r} entry")
    return content


def method_name(checkpoint: dict[str, Any]) -> str:
    """Return the name of the method that a checkpoint holds."""
    return str(checkpoint[_ENTRY]["method"])


def data_spec(checkpoint: dict[str, Any]) -> DataSpec:
    """Return the specification of the data that a checkpoint was trained on."""
    return DataSpec.from_dict(checkpoint[_ENTRY]["data_spec"])


def check_classes(trained: DataSpec, data: DataSpec) -> None:
    """Refuse to use a checkpoint on data with other classes.

    Raises:
        CheckpointError: if the class names differ.
    """
    if trained.class_names != data.class_names:
        raise CheckpointError(
            f"the checkpoint knows the {trained.num_classes} classes of {trained.name} ({_few(trained.class_names)}), "
            f"but the data {data.name} has {data.num_classes} ({_few(data.class_names)}); "
            "use it with the data it was trained on"
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
