"""Transforms in checkpoints and configurations: as plain types, and as they were written before they were objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from enum import Enum
from inspect import signature
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from torchvision.transforms import v2

from maskexp.data.errors import DataError
from maskexp.data.transforms.geometry import EvalTransform

__all__ = ["MOVED_ARGUMENTS", "described", "eval_transform", "in_todays_form"]

MOVED_ARGUMENTS = {
    **dict.fromkeys(("crop_scale", "crop_ratio", "flip", "rotation", "photometric"), "train_transform"),
    **dict.fromkeys(("resize", "crop_fraction"), "eval_transform"),
}
"""Former arguments of every datamodule, and the transform to which each belongs now."""
CLASSES = {
    "train_transform": "maskexp.data.transforms.TrainTransform",
    "eval_transform": "maskexp.data.transforms.EvalTransform",
}
KNOWN = ("maskexp.data.transforms.", "torchvision.transforms.v2.")
"""Where the transforms come from that a checkpoint may name."""


def in_todays_form(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a datamodule's arguments with the former ones about geometry and colours moved into the transforms.

    ``flip`` was whether half of the images are mirrored, and is the probability now.

    Example:
        >>> in_todays_form({"seed": 1, "resize": "center_crop"})["eval_transform"]["init_args"]
        {'resize': 'center_crop'}
    """
    kept = {name: value for name, value in arguments.items() if name not in MOVED_ARGUMENTS}
    moved: dict[str, dict[str, Any]] = {}
    for name in sorted(arguments.keys() & MOVED_ARGUMENTS.keys()):
        role, value = MOVED_ARGUMENTS[name], arguments[name]
        if isinstance(value, bool):
            value = 0.5 if value else 0.0
        moved.setdefault(role, {})[name] = list(value) if isinstance(value, tuple) else value
    return kept | {role: {"class_path": CLASSES[role], "init_args": given} for role, given in moved.items()}


def described(transform: Any) -> Any:
    """Return a transform as class path and arguments, plain types; what cannot be told so, as its text.

    A transform is taken to keep its arguments as attributes of the same names, as ours and torchvision's do.
    """
    kind = type(transform)
    try:
        names = [name for name in signature(kind).parameters if name not in ("kwargs", "args", "labels_getter")]
        arguments = {name: _plain(getattr(transform, name)) for name in names}
    except (AttributeError, TypeError, ValueError):
        return repr(transform)
    module = next((known[:-1] for known in KNOWN if kind.__module__.startswith(known)), kind.__module__)
    return {"class_path": f"{module}.{kind.__qualname__}", "init_args": arguments}


def eval_transform(arguments: Mapping[str, Any]) -> EvalTransform | v2.Transform:
    """Build the transform of evaluation that a checkpoint's datamodule had.

    Args:
        arguments: ``datamodule_hyper_parameters`` of a checkpoint, of today or earlier.

    Raises:
        DataError: if it is none of ours or of torchvision's, or cannot be rebuilt.
    """
    stored = in_todays_form(arguments).get("eval_transform")
    if stored is None:
        return EvalTransform()
    if foreign := [text for text in _texts(stored) if "." in text and not text.startswith(KNOWN)]:
        raise DataError(
            f"the checkpoint's eval_transform is {foreign[0]}, which is none of torchvision's or ours and is not "
            "imported; evaluate with maskexp test, and give --data.eval_transform"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--transform", type=EvalTransform | v2.Transform)
    try:
        transform = parser.instantiate(parser.parse_object({"transform": deepcopy(stored)})).transform
    except (ArgumentError, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("the checkpoint's eval_transform cannot be rebuilt; the checkpoint is damaged") from error
    built: EvalTransform | v2.Transform = transform
    return built


def _plain(value: Any) -> Any:
    """Return a value as plain types; TypeError if it is none and no transform."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return value.value if isinstance(value, v2.InterpolationMode) else value.name
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, v2.Transform):
        if isinstance(inner := described(value), str):
            raise TypeError(inner)
        return inner
    raise TypeError(f"{value!r} is not plain")


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in nested lists and mappings."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
        yield from _texts(inner)
