"""What a checkpoint, and the run it lies in, may make this program import: our own classes and Lightning's."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import maskexp.data
import maskexp.methods
from maskexp.cli.config import Configuration, flatten, short_name
from maskexp.cli.errors import CommandError
from maskexp.cli.layers import chosen_class
from maskexp.data import ImageDataModule
from maskexp.methods import Method

__all__ = ["known_class", "trusted"]

SECTIONS: dict[str, tuple[Any, type]] = {"model": (maskexp.methods, Method), "data": (maskexp.data, ImageDataModule)}
IMPORTABLE = ("lightning", "maskexp", "torchvision")
"""Packages whose classes may be named by a checkpoint or its run."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def trusted(
    below: Mapping[str, Any], configuration: Configuration, flags: Sequence[str], checkpoint: Path
) -> dict[str, Any]:
    """Return what a checkpoint and its run say, with nothing in it that a parser would import from elsewhere.

    The classes of model and data become known ones. Any other value that names something importable is refused, unless
    the user gives that value anyway; then it is dropped.

    Args:
        below: nested mapping, see :func:`~maskexp.cli.checkpoint.checkpoint_layer`.
        configuration: of the user.
        flags: of the user.
        checkpoint: for messages.

    Raises:
        CommandError: if something else is to be imported, or a section is none.
    """
    layer = dict(below)
    for section in SECTIONS:
        if section not in layer:
            continue
        content = layer[section]
        content = {"class_path": content} if isinstance(content, str) else content
        if not isinstance(content, Mapping):
            raise CommandError(f"{checkpoint} or the configuration of its run is damaged: {section} names no class")
        content = dict(content)
        if (given := content.get("class_path")) is not None and (known := known_class(section, given)) is not None:
            content["class_path"] = known
        elif given is not None and chosen_class(flags, section) is None and configuration.origin(section) is None:
            raise _refused(checkpoint, section, given)
        elif section == "data":
            layer.pop(section)  # the user chose another class
            continue
        else:
            content.pop("class_path", None)
        layer[section] = content
    return _without_imports(layer, "", configuration, flags, checkpoint)


def known_class(section: str, class_path: Any) -> str | None:
    """Return the path of a class of methods or datamodules that is imported already, or None.

    Example:
        >>> known_class("model", "maskexp.methods.aim.AIM"), known_class("model", "evil.AIM")
        ('maskexp.methods.AIM', None)
    """
    package, base = SECTIONS[section]
    name = short_name(class_path)
    public = getattr(package, name, None) if name in package.__all__ else None
    if isinstance(public, type) and (class_path == name or str(class_path).startswith("maskexp.")):
        return f"{package.__name__}.{name}"
    loaded = (f"{each.__module__}.{each.__qualname__}" for each in _subclasses(base))
    return next((path for path in loaded if path == class_path), None)


def _without_imports(
    values: Mapping[str, Any], prefix: str, configuration: Configuration, flags: Sequence[str], checkpoint: Path
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            kept[name] = _without_imports(value, f"{key}.", configuration, flags, checkpoint)
            continue
        foreign = next((text for text in _texts(value) if _importable(text)), None)
        if foreign is None:
            kept[name] = value
        elif not _given(key, configuration, flags):
            raise _refused(checkpoint, key, foreign)
    return kept


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _importable(text: str) -> bool:
    """Whether a parser that is told so could import a text from a package that is none of ours."""
    if not _DOTTED.fullmatch(text) or (root := text.partition(".")[0]) in IMPORTABLE:
        return False
    spec = importlib.util.find_spec(root)
    if spec is None or (spec.loader is not None and spec.origin is not None):
        return spec is not None
    # A folder without code of its own, such as birds/ beside a birds.csv.
    second = text.split(".")[1]
    places = [Path(place) / second for place in spec.submodule_search_locations or ()]
    return any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)


def _given(key: str, configuration: Configuration, flags: Sequence[str]) -> bool:
    """Whether the user sets a key, or all that it belongs to."""
    plain = _as_typed(key)
    typed = [_as_typed(flag.partition("=")[0].removeprefix("--")) for flag in flags if flag.startswith("--")]
    configured = [_as_typed(name) for name in flatten(configuration.values)]
    return any(plain == name or plain.startswith(f"{name}.") for name in (*typed, *configured))


def _as_typed(key: str) -> str:
    return key.replace(".init_args.", ".").removesuffix(".class_path")


def _refused(checkpoint: Path, key: str, name: Any) -> CommandError:
    return CommandError(
        f"{checkpoint}, or the configuration of its run, wants {name!r} to be imported for {_as_typed(key)}; a "
        f"checkpoint is not trusted with that: if you do trust it, say so by --{_as_typed(key)} {name}"
    )


def _subclasses(parent: type) -> Iterator[type]:
    children: list[type] = parent.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)
