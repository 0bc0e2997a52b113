"""From a checkpoint back to a trained method."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from inspect import isabstract
from typing import Any

from maskexp.methods.base import Method, arguments_of
from maskexp.methods.checkpoint import CheckpointError, method_name, read_checkpoint


def load_method(path: str | os.PathLike[str]) -> Method:
    """Load a trained method in evaluation mode on the CPU, from its checkpoint alone.

    A method of another package is found by its name as well, once the module that defines it is imported.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is not a checkpoint of ours, or its method is not known here.
    """
    checkpoint = read_checkpoint(path)
    name = method_name(checkpoint)
    known = {method.__name__: method for method in _subclasses(Method)}  # type: ignore[type-abstract]
    if name not in known:
        raise CheckpointError(
            f"{os.fspath(path)} was trained with the method {name!r}, but only {', '.join(sorted(known))} are known; "
            "import the module that defines it first"
        )
    stored = {key: value for key, value in checkpoint["hyper_parameters"].items() if not key.startswith("_")}
    arguments = current_arguments(name, stored)
    unknown = sorted(arguments.keys() - arguments_of(known[name]).keys())
    if unknown:
        raise CheckpointError(f"{os.fspath(path)} is damaged: {name} takes no {', '.join(unknown)}")
    try:
        method = known[name](**arguments)
        method.on_load_checkpoint(checkpoint)
    except ValueError as error:
        raise CheckpointError(f"{os.fspath(path)} cannot be loaded: {error}") from error
    except (TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        # arguments of another kind than the method's: nothing has checked their types
        raise CheckpointError(
            f"{os.fspath(path)} is damaged: {name} cannot be built with the arguments in it"
        ) from error
    method.load_state_dict(checkpoint["state_dict"])
    return method.eval()


def current_arguments(method: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a checkpoint holds, by the names that the method gives them today."""
    known = {each.__name__: each for each in _subclasses(Method)}  # type: ignore[type-abstract]
    renamed = known[method].renamed_arguments if method in known else {}
    return {renamed.get(key, key): value for key, value in stored.items()}


def reads_checkpoint(method: str, trained: str) -> bool:
    """Return whether a method, by its name, can take a checkpoint of the method ``trained``."""
    known = {each.__name__: each for each in _subclasses(Method)}  # type: ignore[type-abstract]
    return method == trained or (method in known and trained in known[method].reads_checkpoints_of)


def _subclasses(parent: type[Method]) -> Iterator[type[Method]]:
    for child in parent.__subclasses__():
        if not isabstract(child):
            yield child
        yield from _subclasses(child)
