"""Configuration in layers, read without torch.

A configuration file may name the layers it stands on::

    layers: [../data/waterbirds95.yaml, ../backbone/resnet50.yaml]
    model: AIM
    model.tau: 0.35

Paths are relative to the file that names them. Layers are merged in order, the file itself last; several ``--config``
are merged in order as well. Mappings are merged key by key; any other value replaces what lies below it.

A class may be written by its name alone and a key with dots, as on the command line; the parser's own form with
``class_path`` and ``init_args`` is understood as well, and so is a mapping of arguments without ``class_path``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from maskexp.cli.arguments import at_home
from maskexp.cli.errors import CommandError
from maskexp.yaml_files import YamlError, read_yaml

__all__ = ["Configuration", "compose", "differences", "first_nan", "flatten", "read_configuration", "short_name"]

LAYERS = "layers"
SECTIONS = ("model", "data")
"""Sections that choose a class."""
DOTTED = (*SECTIONS, "trainer", "selection", "gallery")
"""Sections in which a key may have dots."""
CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
"""How the parser writes a class and its arguments."""
NULLS = ("null", "~", "None")
"""How nothing is written where all values are text."""
MOST_FILES = 100
"""Files that one command reads; layers that stand on one another twice over are read twice."""


@dataclass
class Configuration:
    """Merged values and, for error messages, the file that each one comes from.

    Attributes:
        values: nested mapping as the parser takes it.
        origins: file of each leaf and of each ``class_path``, by dotted key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def merge(self, values: Mapping[str, Any], origin: str) -> None:
        """Lay ``values`` on top.

        Raises:
            CommandError: if both choose a class for the same key, and not the same one.
        """
        self._merge(self.values, values, origin, "")

    def drop(self, section: str) -> None:
        """Forget a top-level section."""
        self.values.pop(section, None)
        self.origins = {key: file for key, file in self.origins.items() if key.partition(".")[0] != section}

    def laid_on(self, below: Mapping[str, Any], origin: str) -> Configuration:
        """Return this configuration on top of ``below``, which comes from ``origin``."""
        stacked = Configuration()
        stacked.merge(below, origin)
        stacked.merge(self.values, "the configuration")
        stacked.origins |= self.origins
        return stacked

    def origin(self, key: str) -> str | None:
        """Return the file that sets ``key`` or something below it, or None."""
        below = (origin for name, origin in self.origins.items() if name == key or name.startswith(f"{key}."))
        return next(below, None)

    def _merge(self, below: dict[str, Any], above: Mapping[str, Any], origin: str, prefix: str) -> None:
        for name, value in above.items():
            key, old = f"{prefix}{name}", below.get(name)
            if name == "class_path" and old is not None and short_name(old) != short_name(value):
                raise CommandError(
                    f"{prefix[:-1]} is {short_name(old)} in {self.origin(key)} but {short_name(value)} in {origin}; "
                    "their arguments cannot be mixed, so name one class only"
                )
            if isinstance(value, Mapping) and isinstance(old, dict):
                self._merge(old, value, origin, f"{key}.")
            else:
                for replaced in flatten({key: old}):
                    self.origins.pop(replaced, None)
                below[name] = _copied(value)
                self.origins |= dict.fromkeys(flatten({key: value}), origin)


def read_configuration(paths: Sequence[str | Path]) -> Configuration:
    """Read and merge configuration files with the layers that they stand on.

    Raises:
        CommandError: if a file is missing, is no YAML mapping, repeats a key, or stands on itself.
    """
    configuration = Configuration()
    files = (file for path in paths for file in _layers(Path(path), ()))
    for number, (file, values) in enumerate(files):
        if number == MOST_FILES:
            raise CommandError(f"{paths[-1]} stands on more than {MOST_FILES} files; merge some of its {LAYERS}")
        configuration.merge(values, str(file))
    return configuration


def compose(
    base: Sequence[Path] | Mapping[str, Any], overlays: Sequence[tuple[Mapping[str, Any], str]]
) -> dict[str, Any]:
    """Return configuration files with their layers, or a composed configuration, with what is laid on top.

    Args:
        base: files, or what this function returned.
        overlays: keys and values as a user types or nests them, each with where it comes from.

    Raises:
        CommandError: as :func:`read_configuration`, or if an overlay says what a file could not.
    """
    configuration = Configuration()
    if isinstance(base, Mapping):
        configuration.merge(base, "the files")
    else:
        configuration = read_configuration(base)
    for values, origin in overlays:
        configuration.merge(_written_out(values, origin), origin)
    return configuration.values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by dotted key; an empty mapping is a leaf.

    Example:
        >>> flatten({"model": {"tau": 0.25}, "seed": 1})
        {'model.tau': 0.25, 'seed': 1}
    """
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return ``{dotted key: (new, old)}`` of leaves that both have and that differ; keys as a user types them."""
    before, after = _comparable(old), _comparable(new)
    return {key: (after[key], before[key]) for key in after if key in before and after[key] != before[key]}


def first_nan(value: Any, key: str = "") -> str | None:
    """Return the key, as a user types it, of the first number that is not a number, or None.

    Example:
        >>> first_nan({"model": {"init_args": {"rates": [1.0, float("nan")]}}})
        'model.rates'
    """
    if isinstance(value, float) and math.isnan(value):
        return key
    inner: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        inner = [(key if name == "init_args" else f"{key}.{name}".lstrip("."), each) for name, each in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(key, each) for each in value]
    return next((found for name, each in inner if (found := first_nan(each, name)) is not None), None)


def short_name(class_path: Any) -> str:
    """Return the last part of a dotted class path."""
    return str(class_path).rpartition(".")[2]


def _comparable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves by the keys that a user types, classes by their short names and tuples as lists."""
    leaves = {}
    for key, value in flatten(values).items():
        if key.endswith("class_path"):
            value = short_name(value)
        leaves[key.replace(".init_args.", ".").removesuffix(".class_path")] = (
            list(value) if isinstance(value, tuple) else value
        )
    return leaves


def _copied(value: Any) -> Any:
    """Return a copy in which ``~/`` at the beginning of a text is the user's home."""
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return at_home(value) if isinstance(value, str) else value


def _layers(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a file's layers and then the file itself, lowest first."""
    resolved = path.resolve()
    if resolved in above:
        raise CommandError(f"{path} stands on itself through its layers: {' -> '.join(p.name for p in above)}")
    values = _read(path)
    layers = values.pop(LAYERS, None) or []
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        raise CommandError(f"{LAYERS} in {path} has to be a list of paths")
    for layer in layers:
        yield from _layers(path.parent / layer, (*above, resolved))
    values = _written_out(values, path)
    yield path, values


def _written_out(values: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """Return a file, or overrides, in the form of the parser: no dots in keys, no class by its name alone."""
    full: dict[str, Any] = {}
    for key, value in values.items():
        if "." not in key:
            full[key] = _section(key, value, path) if key in DOTTED else _nulls(value)
    for key, value in values.items():
        if "." in key:
            _place(full, _full_key(key), _nulls(value), key, path)
    for section in DOTTED[len(SECTIONS) :]:
        if not isinstance(full.get(section), Mapping | None):
            raise CommandError(f"{path}: {section} has to hold keys and values, but is {full[section]!r}")
    return full


def _section(section: str, value: Any, path: Path | str) -> Any:
    """Return what a file says about a section; ``model`` and ``data`` as ``class_path`` and ``init_args``."""
    if section in SECTIONS and isinstance(value, str) and value not in NULLS:
        return {"class_path": value}
    value = _nulls(value)
    if not isinstance(value, Mapping):
        return value
    dotted = {key: inner for key, inner in value.items() if "." in key}
    content = {key: inner for key, inner in value.items() if key not in dotted}
    flat = [key for key in content if key not in CLASS_KEYS] if section in SECTIONS else []
    if flat and len(flat) < len(content):
        raise CommandError(f"{path}: put {', '.join(flat)} under init_args of {section}")
    content = {"init_args": content} if flat else content
    for key, inner in dotted.items():
        _place(content, _full_key(f"{section}.{key}")[1:], inner, f"{section}.{key}", path)
    return content


def _full_key(key: str) -> list[str]:
    """Return the names on the way to a key as a user types it, ``init_args`` between those of a class.

    Example:
        >>> _full_key("model.tau"), _full_key("model.class_path"), _full_key("trainer.max_epochs")
        (['model', 'init_args', 'tau'], ['model', 'class_path'], ['trainer', 'max_epochs'])
        >>> _full_key("data.train_transform.flip")
        ['data', 'init_args', 'train_transform', 'init_args', 'flip']
    """
    names = key.split(".")
    full = names[:1]
    for before, name in pairwise(names):
        described = (before in SECTIONS and len(full) == 1) or before.endswith("_transform")
        full += ["init_args", name] if described and name not in CLASS_KEYS else [name]
    return full


def _place(values: dict[str, Any], names: Sequence[str], value: Any, key: str, path: Path | str) -> None:
    """Set what a key with dots means."""
    *way, last = names
    for name in way:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise CommandError(f"{path}: {key} lies below {name}, which has a value of its own; write one of them only")
    if last in values:
        raise CommandError(f"{path}: the key {key!r} is given twice")
    values[last] = value


def _nulls(value: Any) -> Any:
    """Return a value with Python's way of writing nothing, ``None``, understood."""
    if isinstance(value, Mapping):
        return {name: _nulls(inner) for name, inner in value.items()}
    return None if value == "None" else value


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_yaml(path)
    except FileNotFoundError:
        raise CommandError(f"there is no configuration file {str(path)!r}") from None
    except YamlError as error:
        raise CommandError(str(error)) from error
