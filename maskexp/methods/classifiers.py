"""The trained classifier of whole images that a method begins with."""

from __future__ import annotations

from inspect import signature
from typing import Any, cast

from maskexp.methods.base import Method
from maskexp.methods.checkpoint import CheckpointError, check_classes
from maskexp.methods.erm import ERM
from maskexp.methods.loading import load_method
from maskexp.types import DataSpec

__all__ = ["classifier_arguments", "trained_classifier"]


def classifier_arguments(method: Method) -> dict[str, Any]:
    """Return the arguments of an ERM that is trained as a method is."""
    return {name: value for name, value in method.hparams.items() if name in signature(Method).parameters}


def trained_classifier(method: Method, argument: str, backbone_argument: str = "backbone") -> ERM:
    """Load the ERM that a method begins with.

    Args:
        method: the method, built for its data.
        argument: name of the method's argument that says which file, ``<part>_checkpoint``.
        backbone_argument: name of the method's argument that says which backbone this part has.

    Raises:
        ValueError: if no file is given.
        CheckpointError: if it holds another method, another backbone, or one for other classes.
    """
    name, part = type(method).__name__, argument.removesuffix("_checkpoint")
    checkpoint, backbone = getattr(method, argument), getattr(method, backbone_argument)
    if checkpoint is None:
        raise ValueError(
            f"{name} begins with a classifier that was trained on whole images: give {argument}, the checkpoint of an "
            "ERM; maskexp fit trains it by itself"
        )
    trained = load_method(checkpoint)
    if not isinstance(trained, ERM):
        raise CheckpointError(f"{checkpoint} holds the method {type(trained).__name__}; a {part} is an ERM")
    check_classes(cast(DataSpec, trained.spec), cast(DataSpec, method.spec))
    if trained.backbone != backbone:
        raise CheckpointError(
            f"{checkpoint} holds a {trained.backbone}, but the {part} is a {backbone}; give "
            f"--model.{backbone_argument} {trained.backbone}"
        )
    return trained
