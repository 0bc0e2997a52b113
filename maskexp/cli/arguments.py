"""A first look at the arguments of a training verb, before the parser that knows all classes exists."""

from __future__ import annotations

from collections.abc import Sequence

from maskexp.cli.errors import CommandError

__all__ = ["last_value", "take_values"]


def take_values(args: Sequence[str], *flags: str) -> tuple[list[str], list[str]]:
    """Split arguments into the values of ``flags`` and all other arguments.

    Both ``--flag value`` and ``--flag=value`` are understood.

    Raises:
        CommandError: if a flag stands at the end without its value.

    Example:
        >>> take_values(["--config", "a.yaml", "--model.tau", "0.3", "--config=b.yaml"], "--config")
        (['a.yaml', 'b.yaml'], ['--model.tau', '0.3'])
    """
    values: list[str] = []
    others: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        name, equals, value = arg.partition("=")
        if name not in flags:
            others.append(arg)
        elif equals:
            values.append(value)
        else:
            following = next(remaining, None)
            if following is None:
                raise CommandError(f"{name} needs a value")
            values.append(following)
    return values, others


def last_value(args: Sequence[str], *flags: str) -> str | None:
    """Return the value of the last of ``flags`` that is given, or None."""
    values, _ = take_values(args, *flags)
    return values[-1] if values else None
