"""Methods that begin with another one: its training is asked for, and its checkpoint taken over, in one way."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any, TypeVar

from maskexp.methods.base import Method
from maskexp.methods.checkpoint import CheckpointError, check_classes
from maskexp.methods.loading import load_method
from maskexp.types import DataSpec

__all__ = ["begin_with", "common_arguments", "require_same"]

M = TypeVar("M", bound=Method)


def begin_with(
    checkpoint: str | None,
    kind: type[M],
    role: str,
    owner: Method,
    spec: DataSpec,
    argument: str | None = None,
    backbone_argument: str = "backbone",
) -> M:
    """Return the trained method that another one begins with.

    Args:
        checkpoint: its path; None where the user gave none and nothing has trained it.
        kind: what it has to be.
        role: what it is to the owner, e.g. ``classifier``.
        owner: the method that begins with it.
        spec: the owner's data.
        argument: of the owner that takes the path; ``<role>_checkpoint`` if None.
        backbone_argument: of the owner that says which backbone it has to have.

    Raises:
        ValueError: if there is no checkpoint.
        FileNotFoundError: if it is no file.
        CheckpointError: if it is of another method, for other classes, or has another backbone.
    """
    name, argument = type(owner).__name__, argument or f"{role}_checkpoint"
    if checkpoint is None:
        raise ValueError(
            f"{name} begins with a trained {role}: give {argument}, the checkpoint of a {kind.__name__}; maskexp fit "
            "trains it by itself"
        )
    trained = load_method(checkpoint)
    if type(trained) is not kind:
        raise CheckpointError(
            f"{checkpoint} holds the method {type(trained).__name__}; {name} needs a {role} of {kind.__name__}"
        )
    if trained.spec is not None:
        check_classes(trained.spec, spec)
    backbone = getattr(owner, backbone_argument)
    if trained.backbone != backbone:
        raise CheckpointError(
            f"{checkpoint} holds a {trained.backbone}, but the {role} of {name} is a {backbone}; give "
            f"--model.{backbone_argument} {trained.backbone}"
        )
    return trained


def require_same(trained: Method, expected: Mapping[str, Any], checkpoint: str | None, owner: Method) -> None:
    """Refuse a trained method that learned from something else than what its owner will show it.

    Args:
        trained: what :func:`begin_with` returned.
        expected: arguments that it would have been trained with.
        checkpoint: where it comes from.
        owner: the method that begins with it.

    Raises:
        CheckpointError: if they differ.
    """
    for name, value in expected.items():
        known = trained.hparams.get(name)
        if (list(known) if isinstance(known, tuple) else known) != value:
            raise CheckpointError(
                f"{checkpoint} learned with {name} {known}, but {type(owner).__name__} shows it {name} {value}; give "
                "the same, or omit the checkpoint, so that maskexp fit trains one"
            )


def common_arguments(settings: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Return the arguments of one method that every method has, and others, for a method that is trained first."""
    return {name: value for name, value in settings.items() if name in signature(Method).parameters} | others
