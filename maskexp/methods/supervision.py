"""What a training was told about groups, weakest first: no comparison is fair across these."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["SUPERVISIONS", "Supervision", "strongest"]

Supervision = Literal["none", "group labels in validation", "group labels in training"]
SUPERVISIONS: tuple[Supervision, ...] = get_args(Supervision)


def strongest(*supervisions: Supervision) -> Supervision:
    """Return the one that tells most.

    Example:
        >>> strongest("none", "group labels in validation")
        'group labels in validation'
    """
    return max(supervisions, key=SUPERVISIONS.index)
