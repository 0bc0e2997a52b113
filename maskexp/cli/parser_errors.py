"""The parser's errors as one sentence with a suggestion.

jsonargparse reports every alternative that it tried, over many lines. What a user needs is the key, the value, the
file, and what would have been right.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

from maskexp.cli.config import Configuration
from maskexp.cli.errors import did_you_mean

__all__ = ["explain_parser_error"]


def explain_parser_error(
    message: str,
    keys: Iterable[str],
    classes: Mapping[str, Sequence[str]],
    configuration: Configuration,
) -> str:
    """Return one sentence for jsonargparse's ``message``.

    Args:
        message: as jsonargparse wrote it.
        keys: dotted keys that the parser knows.
        classes: names of the classes that can be chosen, by section: ``model``, ``data``.
        configuration: what was read from files, to name the one that is to blame.
    """
    section = _found(r'Parser key "(\w+)"', message)
    class_path = _found(r"given class_path '([\w.]+)'", message)
    if unknown := _found(r"does not accept option '([\w.]+)'|unrecognized arguments: --([\w.]+)", message):
        return _unknown_key(unknown, list(keys), configuration)
    if missing := _found(r"arguments are required: ([\w., ]+)", message):
        return _missing(missing, class_path, section, classes)
    if section is not None and section in classes and class_path is None:
        chosen = _found(r"Given value: (\S+)", message) or "this"
        return f"there is no {section} {chosen!r}; {did_you_mean(chosen.rpartition('.')[2], classes[section])}"
    if class_path and (
        argument := _found(r"Option '([\w.]+)' is not accepted|Key '([\w.]+)' is not expected", message)
    ):
        key = f"{section}.{argument}"
        return f"{_blame(key, configuration)}unknown key {key}; {did_you_mean(argument, _arguments(class_path))}"
    return _wrong_value(message, section, class_path, configuration)


def _unknown_key(unknown: str, keys: list[str], configuration: Configuration) -> str:
    """Suggest among the keys on the level where the wrong one stands."""
    known = {key.rpartition(".")[0] for key in keys} | set(keys)
    wrong = next(
        (".".join(unknown.split(".")[:depth]) for depth in range(1, unknown.count(".") + 1)
         if ".".join(unknown.split(".")[:depth]) not in known),
        unknown,
    )  # fmt: skip
    siblings = sorted({key for key in known if key and key.count(".") == wrong.count(".")})
    level = wrong.rpartition(".")[0]
    nearby = [key for key in siblings if key.rpartition(".")[0] == level] or siblings
    return f"{_blame(unknown, configuration)}unknown key {wrong}; {did_you_mean(wrong, nearby)}"


def _missing(names: str, class_path: str | None, section: str | None, classes: Mapping[str, Sequence[str]]) -> str:
    short = [name.strip().rpartition(".")[2] for name in names.split(",")]
    if class_path is None and short[0] in classes:
        return f"no {short[0]} was chosen: give --{short[0]} {' or '.join(classes[short[0]])}"
    keys = ", ".join(f"--{section}.{name}" if section else f"--{name}" for name in short)
    return f"{class_path.rpartition('.')[2] if class_path else 'the command'} needs {keys}"


def _wrong_value(message: str, section: str | None, class_path: str | None, configuration: Configuration) -> str:
    """Name the key, what it holds and what it should hold; else the message in one line."""
    names = re.findall(r'[Kk]ey "([\w.]+)"', message)
    expected = _found(r"(Expected [^\n]*?)(?:\. Got value: [^\n]*)?$", message, re.MULTILINE)
    value = _found(r"Got value: ([^\n]*)|Given value: ([^\n]*)", message)
    if not names or expected is None:
        return " ".join(message.split())
    key = f"{section}.{names[-1]}" if class_path and names[-1] != section else names[-1]
    wanted = re.sub(r"<class '([\w.]+)'>", r"\1", expected.replace("typing.Literal", "one of ")).removeprefix(
        "Expected "
    )
    return f"{_blame(key, configuration)}{key} is {value!r}, but has to be {wanted}"


def _blame(key: str, configuration: Configuration) -> str:
    section, _, rest = key.partition(".")
    origin = configuration.origin(key) or configuration.origin(f"{section}.init_args.{rest}")
    return f"{origin}: " if origin else ""


def _arguments(class_path: str) -> list[str]:
    """Return the names of a class's arguments, those that it hands on to its bases included."""
    module, _, name = class_path.rpartition(".")
    found: dict[str, None] = {}
    for parent in getattr(importlib.import_module(module), name).__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(parent.__init__).parameters.values()
            found |= dict.fromkeys(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    found.pop("self", None)
    return list(found)


def _found(pattern: str, message: str, flags: int = 0) -> str | None:
    match = re.search(pattern, message, flags)
    return None if match is None else next(group for group in match.groups() if group is not None)
