"""Arguments as ``wandb agent`` writes them, in the spelling that the parser reads."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from maskexp.cli.config import DOTTED, SECTIONS, Configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.layers import chosen_class
from maskexp.yaml_files import read_yaml_text

__all__ = ["completed_classes", "plain_spellings", "with_whole_numbers"]

VALUELESS = ("--help", "-h", "--print_config", "--print_config=")


def plain_spellings(flags: Sequence[str]) -> list[str]:
    """Return the flags with ``None`` as null and with mappings of a section as one flag a key.

    Raises:
        CommandError: if a flag has no value or no hyphens, which is what ``${args_no_boolean_flags}`` and
            ``${args_no_hyphens}`` make of it.

    Example:
        >>> plain_spellings(["--model.weights=None", "--model={'tau': 0.3, 'class_path': 'AIM'}"])
        ['--model.weights=null', '--model=AIM', '--model.tau=0.3']
    """
    written: list[str] = []
    remaining = list(flags)
    while remaining:
        flag = remaining.pop(0)
        name, equals, value = flag.partition("=")
        if not flag.startswith("-"):
            if equals and re.fullmatch(r"[a-z_]+(\.\w+)+", name):
                raise CommandError(
                    f"{flag} is no flag: write --{flag}; in a sweep file, ${{args}} instead of ${{args_no_hyphens}}"
                )
            written.append(flag)
            continue
        if not equals and not _stands_alone(flag):
            if not remaining or re.match(r"--[a-z]", remaining[0]):
                raise CommandError(
                    f"{flag} has no value: write {flag}=true; in a sweep file, ${{args}} instead of "
                    "${args_no_boolean_flags}, which leaves false out"
                )
            value = remaining.pop(0)
            if value != "None" and not _is_section(name, value):
                written += [flag, value]
                continue
        if value == "None":
            written.append(f"{name}=null")
        elif (mapping := _mapping(name, value)) is not None:
            written += _one_by_one(name, mapping)
        else:
            written.append(flag)
    return written


def completed_classes(configuration: Configuration, flags: Sequence[str]) -> None:
    """Give arguments whose class stands in no file the class that a flag chooses.

    Raises:
        CommandError: if no flag chooses one either.
    """
    for section in SECTIONS:
        content = configuration.values.get(section)
        if isinstance(content, dict) and "class_path" not in content:
            chosen = chosen_class(flags, section)
            if chosen is None:
                keys = ", ".join(content.get("init_args") or content)
                raise CommandError(f"{section} has arguments ({keys}) but no class: give --{section} NAME")
            content["class_path"] = chosen


def with_whole_numbers(flags: Sequence[str], complaint: str) -> list[str] | None:
    """Return the flags with the number that ``complaint`` is about as an int, where an int was wanted, 16.0 was given.

    Args:
        flags: of the command.
        complaint: what the parser said, ``… Got value: 16.0`` or ``… Given value: 16.0``.
    """
    value = re.search(r"(?:Got|Given) value: '?(-?\d+\.0+)'?", complaint)
    key = re.findall(r'[Kk]ey "([\w.]+)"', complaint)
    if value is None or not key or "int" not in complaint:
        return None
    ending, whole = f"{key[-1]}={value[1]}", int(float(value[1]))
    changed = [
        _with_whole_number(f, key[-1].rpartition(".")[2], whole)
        if f.startswith("--config={")
        else f[: -len(value[1])] + str(whole)
        if _ends(f, ending)
        else f
        for f in flags
    ]
    return None if changed == list(flags) else changed


def _with_whole_number(flag: str, name: str, whole: int) -> str:
    """Return a configuration in which each key of a name whose value is a whole number has it as an int."""

    def mended(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: whole if k == name and type(v) is float and v == whole else mended(v) for k, v in value.items()}

    prefix = "--config="
    return prefix + json.dumps(mended(json.loads(flag.removeprefix(prefix))))


def _ends(flag: str, ending: str) -> bool:
    return flag.startswith("--") and flag.endswith(ending) and flag[: -len(ending)][-1:] in ("-", ".")


def _stands_alone(flag: str) -> bool:
    return flag in VALUELESS or flag.startswith("--print_") or flag.endswith(".help")


def _is_section(name: str, value: str) -> bool:
    return _mapping(name, value) is not None


def _mapping(name: str, value: str) -> Mapping[str, Any] | None:
    """Return the mapping that stands for a whole section, written by Python, as JSON or as YAML."""
    if name.removeprefix("--") not in DOTTED or not value.startswith("{"):
        return None
    for read in (json.loads, ast.literal_eval, partial(read_yaml_text, name)):
        try:
            found = read(value)
        except (ValueError, SyntaxError):
            continue
        return found if isinstance(found, dict) and all(_is_value(*each) for each in found.items()) else None
    return None


def _is_value(key: Any, value: Any) -> bool:
    """Whether an entry of a section is one that can be written as a flag of its own."""
    if key == "class_path":
        return isinstance(value, str) and bool(value)
    return isinstance(key, str) and key != "dict_kwargs" and (key != "init_args" or isinstance(value, dict | None))


def _one_by_one(name: str, mapping: Mapping[str, Any]) -> list[str]:
    """Return a flag for the class, if there is one, and one for each argument."""
    written = [f"{name}={mapping['class_path']}"] if "class_path" in mapping else []
    arguments = {key: value for key, value in mapping.items() if key not in ("class_path", "init_args")}
    for key, value in {**arguments, **(mapping.get("init_args") or {})}.items():
        written.append(f"{name}.{key}={value if isinstance(value, str) else json.dumps(value)}")
    return written
