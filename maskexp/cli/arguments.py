"""A first look at arguments: before the parser that knows all classes exists, and before any work is done."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from yaml import YAMLError

from maskexp.cli.errors import CommandError
from maskexp.yaml_files import YamlError, read_yaml_text

NESTED, NULLS = 3, ("null", "~", "None")
"""Names in a flag such as ``--data.train_transform.flip``; how nothing is written."""

STRUCTURED = re.compile(r"[\[{]|[?&*!]|.*: ", re.DOTALL)
"""How text begins that YAML may read as more than one value."""

__all__ = [
    "at_home",
    "data_flags",
    "in_the_parsers_words",
    "last_value",
    "nested_nulls",
    "refuse_environment",
    "require_plain_values",
    "take_values",
    "target_file",
]


def at_home(value: str) -> str:
    """Return an argument with ``~/`` at the beginning of its value replaced by the user's home.

    A shell does that only where the value is an argument of its own and not in quotes.

    Example:
        >>> at_home("--run_dir=~/x") == f"--run_dir={Path.home()}/x"
        True
    """
    name, equals, path = value.partition("=") if value.startswith("--") else ("", "", value)
    return f"{name}{equals}{Path(path).expanduser()}" if path.startswith("~/") else value


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


def data_flags(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into those about the data (``--config``, ``--data``, ``--data.…``) and all others.

    Raises:
        CommandError: if a flag stands at the end without its value.

    Example:
        >>> data_flags(["a.ckpt", "--data.root", "birds", "--json", "--data=WaterBirds"])
        (['--data.root', 'birds', '--data=WaterBirds'], ['a.ckpt', '--json'])
    """
    about: list[str] = []
    others: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        name, equals, _ = arg.partition("=")
        if name not in ("--config", "-c", "--data") and not name.startswith("--data."):
            others.append(arg)
            continue
        about.append(arg)
        if not equals:
            value = next(remaining, None)
            if value is None:
                raise CommandError(f"{name} needs a value")
            about.append(value)
    return about, others


def in_the_parsers_words(args: Sequence[str]) -> list[str]:
    """Write Python's ``None`` as null, and refuse flags that a sweep has not filled in or wrote without hyphens.

    Raises:
        CommandError: if an argument is none.

    Example:
        >>> in_the_parsers_words(["--model.weights", "None", "--model.tau=0.3"])
        ['--model.weights', 'null', '--model.tau=0.3']
    """
    for arg in args:
        if arg.startswith("${"):
            raise CommandError(f"{arg} was not filled in; write ${{args}} alone in the command of the sweep")
        if re.fullmatch(r"(model|data|trainer|selection|gallery)\.[\w.]+=.*", arg):
            raise CommandError(f"{arg} has no hyphens; write --{arg}, and ${{args}} in the command of a sweep")
    return [
        "null" if arg == "None" else f"{arg.removesuffix('None')}null" if arg.endswith("=None") else arg for arg in args
    ]


def require_plain_values(args: Sequence[str]) -> None:
    """Refuse values that would fill the memory, or that hold what no setting is, before a parser reads them as YAML.

    What is no YAML at all is left to the parser, which knows what the value should have been.

    Raises:
        CommandError: if a value is nested too deeply, refers to itself, holds too much, or a key twice.
    """
    before = "the command"
    for arg in args:
        name, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
        if STRUCTURED.match(value):
            try:
                read_yaml_text(name or before, value)
            except YamlError as error:
                if not isinstance(error.__cause__, YAMLError) or "given twice" in str(error):
                    raise CommandError(str(error).replace(" is no YAML in line 1", "")) from error
        before = name if name and not equals else before


def refuse_environment(verb: str, environment: Mapping[str, str]) -> None:
    """Refuse settings in variables that LightningCLI would read elsewhere, and that do nothing here.

    Raises:
        CommandError: if there is one.
    """
    prefix = f"PL_{verb.upper()}__"
    for name in sorted(environment):
        if name.startswith(prefix):
            key = name.removeprefix(prefix).lower().replace("__", ".")
            raise CommandError(f"the environment variable {name} does nothing here; give --{key}, and unset it")


def last_value(args: Sequence[str], *flags: str) -> str | None:
    """Return the value of the last of ``flags`` that is given, or None."""
    values, _ = take_values(args, *flags)
    return values[-1] if values else None


def nested_nulls(args: Sequence[str]) -> list[str]:
    """Write ``--data.train_transform.x null`` as a mapping, for two levels down the parser reads null as a text.

    Example:
        >>> nested_nulls(["--data.train_transform.crop_scale", "null", "--data.seed=1"])
        ['--data.train_transform={"crop_scale": null}', '--data.seed=1']
    """
    written: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        name, equals, value = arg.partition("=")
        names = [part for part in name.split(".") if part != "init_args"]
        if name.startswith("--") and len(names) == NESTED and not equals:
            value = next(remaining, "")
            written += [arg, value]
        else:
            written.append(arg)
        if name.startswith("--") and len(names) == NESTED and value in NULLS:
            del written[-1 if equals else -2 :]
            written.append(f'{names[0]}.{names[1]}={{"{names[2]}": null}}')
    return written


def target_file(name: str | Path) -> Path:
    """Return a file that a command is to write at its end, refused at its beginning where it cannot be written.

    Raises:
        CommandError: if there is a folder of that name, or no folder that may be written for it.
    """
    path = Path(name)
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file in it")
    parent = next((parent for parent in path.absolute().parents if parent.exists()), path.absolute().parent)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise CommandError(f"{path} cannot be written: {parent} is no folder that you may write")
    return path
