"""Checkpoints that are enough by themselves, and that need not be trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskexp._version import __version__
from maskexp.serialization import load_tensors, require_weights
from maskexp.types import DataSpec

_ENTRY = "maskexp"
"""Key of a checkpoint under which the method's name, our version and the data's specification stand."""


class CheckpointError(ValueError):
    """A file is not a checkpoint of ours, or does not fit the data or the methods at hand."""


def describe(method: str, spec: DataSpec) -> dict[str, Any]:
    """Return the entry that makes a checkpoint of ``method`` enough by itself."""
    return {_ENTRY: {"method": method, "version": __version__, "data_spec": spec.to_dict()}}


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a PyTorch file was written by maskexp, whole or damaged.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no PyTorch file that can be read safely.
    """
    return _ENTRY in load_tensors(path)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint without running code that it may hold.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is not a checkpoint that maskexp wrote, if it is damaged, or if its weights are no
            finite numbers.
    """
    try:
        content = load_tensors(path)
    except ValueError as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    if _ENTRY not in content:
        raise CheckpointError(f"{os.fspath(path)} is not a checkpoint of maskexp: it has no {_ENTRY!r} entry")
    _require_whole(content, os.fspath(path))
    return content


def _require_whole(content: dict[str, Any], path: str) -> None:
    """Refuse a checkpoint that lacks what every verb needs, or in which it is of another kind."""
    kinds = {_ENTRY: dict, "hyper_parameters": dict, "state_dict": dict, "epoch": int, "global_step": int}
    kinds |= {key: dict for key in ("datamodule_hyper_parameters", "callbacks") if key in content}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind) or not _has_names(content[key]):
            raise CheckpointError(f"{path} is damaged: it has no {key!r} as a checkpoint of maskexp has it")
    try:
        data_spec(content)
        require_weights(content["state_dict"], path)
    except ValueError as error:
        sentence = str(error)
        raise CheckpointError(sentence if sentence.startswith(path) else f"{path} is damaged: {sentence}") from error
    if not isinstance(content[_ENTRY].get("method"), str):
        raise CheckpointError(f"{path} is damaged: it does not say which method it holds")


def _has_names(value: Any) -> bool:
    return not isinstance(value, dict) or all(isinstance(key, str) for key in value)


def check_weights(network: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Refuse weights that belong to another network.

    Raises:
        CheckpointError: if a name or a shape differs.
    """
    missing, unknown = sorted(network.keys() - stored.keys()), sorted(stored.keys() - network.keys())
    others = [name for name in network.keys() & stored.keys() if network[name].shape != stored[name].shape]
    if missing or unknown or others:
        example = [*missing, *unknown, *sorted(others)][0]
        raise CheckpointError(
            f"the checkpoint's weights do not fit the network that it describes: {len(missing)} are missing, "
            f"{len(unknown)} unknown and {len(others)} of another shape, e.g. {example!r}; it is damaged, or a flag "
            "changes the network"
        )


def method_name(checkpoint: dict[str, Any]) -> str:
    """Return the name of the method that a checkpoint holds."""
    return str(checkpoint[_ENTRY]["method"])


def data_spec(checkpoint: dict[str, Any]) -> DataSpec:
    """Return the specification of the data that a checkpoint was trained on."""
    return DataSpec.from_dict(checkpoint[_ENTRY].get("data_spec"))


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
