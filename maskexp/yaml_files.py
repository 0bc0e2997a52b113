"""YAML files that need not be trusted: of a bounded size, depth and number of values, and of plain values only."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["YamlError", "read_yaml", "read_yaml_text"]

LARGEST = 1_000_000
"""Bytes; a complete configuration has about 10 000."""
MOST_VALUES = 100_000
"""Values once all aliases are written out."""
DEEPEST = 40
"""Levels of nesting; a complete configuration has about ten."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """A file cannot be read as YAML of keys and values; the message is a sentence for the user."""


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of keys and values; an empty one holds none.

    YAML 1.1 with three of its traps closed: ``1e-4`` is a number, a date is text, and a key given twice is an error.

    Raises:
        FileNotFoundError: if there is no such file.
        YamlError: if it is no regular file, is no YAML, repeats a key, holds anything but text, numbers, booleans,
            null, lists and keys, or is larger or deeper than any configuration.
    """
    values = read_yaml_text(path, _text(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise YamlError(f"{path} has to hold keys and values, but holds a {type(values).__name__}")
    return values


def read_yaml_text(path: str | os.PathLike[str], text: str) -> Any:
    """Read text as YAML, in the way of :func:`read_yaml`, whatever it holds.

    Args:
        path: where the text comes from, for messages: a file, or a flag.
        text: to read.

    Raises:
        YamlError: as :func:`read_yaml`.
    """
    try:
        _require_bounded(path, text)
        values = yaml.load(text, Loader=_Loader)  # noqa: S506, a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise YamlError(f"{path} is no YAML{where}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise YamlError(f"{path} is no YAML: it holds characters that no text has") from error
    except YamlError:
        raise
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:  # of a tag such as !!bool
        raise YamlError(f"{path} holds a value that cannot be read as the number or the type that it claims") from error
    _require_plain(path, values, "")
    return values


def _text(path: str | os.PathLike[str]) -> str:
    file = Path(path)
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            raise YamlError(f"{path} is a folder, not a YAML file")
        if not stat.S_ISREG(status.st_mode):
            raise YamlError(f"{path} is a device or a pipe; only a regular file can be read as YAML")
        if status.st_size > LARGEST:
            raise YamlError(f"{path} has {status.st_size} bytes; no configuration has more than {LARGEST}")
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise YamlError(f"{path} is no YAML: it is not written in UTF-8") from error
    except OSError as error:
        raise YamlError(f"{path} cannot be read: {(error.strerror or 'unknown error').lower()}") from error
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"{str(path)!r} is no path of a file") from error


def _require_bounded(path: str | os.PathLike[str], text: str) -> None:
    """Refuse what would fill memory or stack, from the events alone, before anything is built."""
    written_out: dict[str, int] = {}  # values of each anchor, its aliases written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and values before it
    values = 0
    for event in yaml.parse(text, Loader=_Base):
        line = f"line {event.start_mark.line + 1}" if event.start_mark else "it"
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise YamlError(f"{path}, {line}: {event.anchor!r} stands for itself")
            values += written_out.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor:
                written_out[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values += 1
            if len(open_nodes) > DEEPEST:
                raise YamlError(f"{path}, {line}: nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                written_out[anchor] = values - before
        if values > MOST_VALUES:
            raise YamlError(f"{path} holds more than {MOST_VALUES} values, its aliases written out")


def _require_plain(path: str | os.PathLike[str], value: Any, key: str) -> None:
    """Refuse what JSON cannot hold, such as sets and bytes."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise YamlError(f"{path}: the key {name!r}{f' in {key}' if key else ''} is no text; put it in quotes")
            _require_plain(path, inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(path, inner, key)
    elif value is not None and not isinstance(value, (str, int, float)):
        raise YamlError(f"{path}: {key or 'it'} holds a {type(value).__name__}, which no setting takes")


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader, which refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value == "<<" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
