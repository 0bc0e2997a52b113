"""The parser's errors as one sentence with a suggestion.

jsonargparse reports every alternative that it tried, over many lines. What a user needs is the key, the value, the
file, and what would have been right.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchvision.transforms import v2

from maskexp.cli.config import Configuration, short_name
from maskexp.data.transforms.stored import MOVED_ARGUMENTS
from maskexp.methods import Method
from maskexp.methods.base import arguments_of
from maskexp.suggestions import did_you_mean

__all__ = ["explain_parser_error", "missing_value"]

_CHOICE = r"(?:\{'class_path': ')?([\w./-]+)"
_CLASS_PATH = r"given class_path '([\w.]+)'"
_NOT_ACCEPTED = r"Option '([\w.]+)' is not accepted|Key '([\w.]+)' is not expected"
PRECISIONS = "32, 16-mixed, bf16-mixed, 16-true, bf16-true or 64"
_SINGULAR = {"evaluations": "evaluation"}


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
        classes: names of the classes that can be chosen, by section: ``model``, ``data``, ``evaluations``.
        configuration: what was read from files, to name the one that is to blame.
    """
    section = _found(r'Parser key "(\w+)"', message)
    class_path = _found(_CLASS_PATH, message)
    if (
        section is not None
        and section in classes
        and _found(r"given class_path '[\w.]+':\s+(module '|No module)", message)
    ):
        return _no_such_class(section, str(class_path), classes[section])
    if class_path is None and (part := _found(r'[Kk]ey "trainer\.(callbacks|logger)"', message)):
        return _no_such_part(part, message)
    if unknown := _found(r"does not accept option '([\w.]+)'|unrecognized arguments: --([\w.]+)", message):
        return _unknown_key(unknown, list(keys), configuration)
    if missing := _found(r"arguments are required: ([\w., ]+)", message):
        return _missing(missing, class_path, section, classes)
    if section is not None and section in classes and class_path is None:
        chosen = _found(rf"(?:Given value|Got value|import path string): {_CHOICE}", message) or "this"
        if chosen == "this":
            names = ", ".join(classes[section])
            if section == "evaluations":
                return f"--evaluations has to list names ({names}), or {{class_path: NAME, init_args: {{…}}}} for each"
            return f"--{section} names no class: give a name ({names}), or {{class_path: NAME, init_args: {{…}}}}"
        if chosen == "NestedArg":
            return f"an argument of {section} is given, but no {section} is chosen: give --{section} NAME as well"
        given = _found(r"Given value: ([^\n]+)", message) or chosen
        is_known = chosen.rpartition(".")[2] in classes[section]
        if section != "evaluations" and is_known and given.startswith(("{", "[")):
            return f"put the arguments of {chosen} under init_args, or give them one by one as --{section}.NAME"
        if section == "evaluations" and is_known:
            return f"there is no evaluation {chosen!r}; write a list: --evaluations '[{chosen}]'"
        return _no_such_class(section, given.strip() if is_known else chosen, classes[section])
    if class_path and (refused := re.search(_NOT_ACCEPTED, message)):
        return _not_accepted(refused[1] or refused[2], message[: refused.start()], configuration)
    if class_path and (transform := _found(r"Expected a dot import path string: ([\w.]+)", message)):
        key = _nested_key(message.partition("Expected a dot import path string")[0])
        return f"{_blame(key, configuration)}{key} names no transform {transform!r}; {_transform_like(transform)}"
    return _wrong_value(message, section, class_path, configuration)


def missing_value(section: str, class_path: str, arguments: Mapping[str, Any]) -> str | None:
    """Return a sentence about the first argument that is null and may not be, or None.

    The parser lets null pass where a key is given in two parts.
    """
    parameters = _parameters(class_path)
    for name, value in arguments.items():
        known = parameters.get(name)
        if value is None and known is not None and known.default is not None and "None" not in str(known.annotation):
            quotes = "; put quotes around one that begins with #" if isinstance(known.default, str) else ""
            return f"{section}.{name} is null, but needs a value (its default is {known.default!r}){quotes}"
    return None


def _no_such_class(section: str, chosen: str, names: Sequence[str]) -> str:
    hint = did_you_mean(chosen.rpartition(".")[2], names)
    return f"there is no {_SINGULAR.get(section, section)} {chosen!r}; {hint}"


def _not_accepted(argument: str, before: str, configuration: Configuration) -> str:
    """Name an argument that a class does not take by its whole key, and suggest another."""
    class_path = re.findall(_CLASS_PATH, before)[-1]
    key = f"{_nested_key(before) or short_name(class_path)}.{argument}"
    renamed = getattr(_class(class_path), "renamed_arguments", {})
    hint = f"it is called {renamed[argument]} now" if argument in renamed else ""
    if not (known := [name for name in _parameters(class_path) if name != "spec"]):
        return _no_class(key)
    hint = hint or did_you_mean(argument, known)
    if key == f"data.{argument}" and argument in MOVED_ARGUMENTS:
        hint = f"write data.{MOVED_ARGUMENTS[argument]}.{argument}"
    return f"{_blame(key, configuration)}unknown key {key}; {hint}"


def _nested_key(message: str) -> str:
    """Return the key that a message is about, from the sections that it names one inside the other."""
    return ".".join(dict.fromkeys(re.findall(r'Parser key "([\w.]+)"', message)))


def _transform_like(name: str) -> str:
    known = [
        each for each in dir(v2) if isinstance(found := getattr(v2, each), type) and issubclass(found, v2.Transform)
    ]
    return did_you_mean(name.rpartition(".")[2], ["TrainTransform", "EvalTransform", *known])


def _no_such_part(part: str, message: str) -> str:
    """Return a sentence about a callback or logger that Lightning does not have."""
    known: list[str] = importlib.import_module(f"lightning.pytorch.{part.removesuffix('s')}s").__all__
    chosen = short_name(_found(rf"(?:import path string|Given value|Got value): \[?{_CHOICE}", message) or "this")
    if chosen in known:
        return f"trainer.{part}: {chosen} needs arguments; write {{class_path: {chosen}, init_args: {{…}}}}"
    return f"there is no {part.removesuffix('s')} {chosen!r}; {did_you_mean(chosen, known)}"


def _unknown_key(unknown: str, keys: list[str], configuration: Configuration) -> str:
    """Suggest among the keys on the level where the wrong one stands."""
    names = unknown.split(".")
    if names[0] not in _below([], keys) and names[-1] in arguments_of(Method):
        return f"{_blame(unknown, configuration)}unknown key {unknown}; did you mean --model.{names[-1]}?"
    level: list[str] = []
    choices = _below(level, keys)
    while names[len(level)] in choices and len(level) + 1 < len(names):
        level.append(names[len(level)])
        choices = _below(level, keys)
    wrong = names[len(level)]
    if not choices:
        return _no_class(unknown)
    return f"{_blame(unknown, configuration)}unknown key {'.'.join([*level, wrong])}; {did_you_mean(wrong, choices)}"


def _no_class(key: str) -> str:
    section = key.rpartition(".")[0]
    return f"unknown key {key}: no class is chosen for {section} yet; give --{section} NAME before it"


def _below(level: Sequence[str], keys: Iterable[str]) -> list[str]:
    """Return the names that follow ``level`` in dotted keys."""
    split = (key.split(".") for key in keys)
    return list(dict.fromkeys(k[len(level)] for k in split if len(k) > len(level) and k[: len(level)] == list(level)))


def _missing(names: str, class_path: str | None, section: str | None, classes: Mapping[str, Sequence[str]]) -> str:
    short = [name.strip().rpartition(".")[2] for name in names.split(",")]
    if class_path is None and short[0] in classes:
        return f"no {short[0]} was chosen: give --{short[0]} {' or '.join(classes[short[0]])}"
    if class_path and section is None:
        return f"{short_name(class_path)} needs {', '.join(short)}; put it under its init_args"
    keys = ", ".join(f"--{section}.{name}" if section else f"--{name}" for name in short)
    return f"{class_path.rpartition('.')[2] if class_path else 'the command'} needs {keys}"


def _wrong_value(message: str, section: str | None, class_path: str | None, configuration: Configuration) -> str:
    """Name the key, what it holds and what it should hold; else the message in one line."""
    if unreadable := re.search(r'[Kk]ey "([\w.]+)":\s*Unable to load config (.*?) - ', message, re.DOTALL):
        return f"{unreadable[1]} is {unreadable[2].strip()}, which is neither a YAML file nor YAML of keys and values"
    names = re.findall(r'[Kk]ey "([\w.]+)"', message)
    expected = _found(r"(Expected [^\n]*?)(?:\. Got value: [^\n]*)?$", message, re.MULTILINE)
    value = _found(r"Got value: ([^\n]*)|Given value: ([^\n]*)", message)
    if not names or expected is None:
        return " ".join(message.split())
    key = _nested_key(message) or names[-1] if class_path and names[-1] != section else names[-1]
    if key == "trainer.precision":
        expected = f"Expected a {PRECISIONS}"
    wanted = expected.removeprefix("Expected a ").replace("typing.Literal", "one of ")
    wanted = re.sub(r"<class '([\w.]+)'>", r"of type \1", wanted).replace(
        "of type NoneType", "null or a class with arguments"
    )
    return f"{_blame(key, configuration)}{key} is {value!r}, but has to be {wanted}"


def _blame(key: str, configuration: Configuration) -> str:
    section, _, rest = key.partition(".")
    origin = configuration.origin(key) or configuration.origin(f"{section}.init_args.{rest}")
    return f"{origin}: " if origin else ""


def _parameters(class_path: str) -> dict[str, inspect.Parameter]:
    """Return a class's arguments by name, its own before those of its bases."""
    found: dict[str, inspect.Parameter] = {}
    for parent in _class(class_path).__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(parent.__init__).parameters.values()
            named = {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            found = {**named, **found}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    found.pop("self", None)
    return found


def _class(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    found: Any = getattr(importlib.import_module(module), name)
    return found


def _found(pattern: str, message: str, flags: int = 0) -> str | None:
    match = re.search(pattern, message, flags)
    return None if match is None else next(group for group in match.groups() if group is not None)
