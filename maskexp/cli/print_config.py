"""``--print_config``: the complete configuration, and beside each value that is no default the file that set it."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import yaml

__all__ = ["asks_for_configuration", "with_sources", "with_sources_printed"]

KEY = re.compile(r"( *)([\w.-]+):(?= |$)")
FLAG = "the command line"


def asks_for_configuration(flags: Sequence[str]) -> bool:
    """Return whether the complete configuration is to be printed."""
    return any(flag.partition("=")[0] == "--print_config" for flag in flags)


@contextmanager
def with_sources_printed(origins: Mapping[str, str], flags: Sequence[str]) -> Iterator[None]:
    """Print what the block prints with the sources of its values; see :func:`with_sources`."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        sys.stdout.write(with_sources(printed.getvalue(), origins, flags))


def with_sources(text: str, origins: Mapping[str, str], flags: Sequence[str]) -> str:
    r"""Return a configuration in YAML with a comment that says where each value comes from; defaults have none.

    Args:
        text: the configuration as the parser prints it.
        origins: file of each value, by dotted key.
        flags: arguments of the command, which lie on top of all files.

    Example:
        >>> print(with_sources("model:\n  tau: 0.3\n  stages: 2\n", {"model.tau": "aim.yaml"}, []), end="")
        model:
          tau: 0.3  # aim.yaml
          stages: 2
    """
    sources = {_as_typed(key): _short(origin) for key, origin in origins.items()}
    sources |= {_as_typed(flag[2:].partition("=")[0]): FLAG for flag in flags if flag.startswith("--")}
    lines, path = [], list[tuple[int, str]]()
    for line in text.splitlines():
        found = KEY.match(line)
        if found is not None:
            indent, name = len(found[1]), found[2]
            path = [(depth, key) for depth, key in path if depth < indent] + [(indent, name)]
            source = sources.get(_as_typed(".".join(key for _, key in path)))
            line = line if source is None else f"{line}  # {source}"
        lines.append(line)
    commented = "".join(f"{line}\n" for line in lines)
    # A text over several lines has no place for a comment.
    return commented if yaml.safe_load(commented) == yaml.safe_load(text) else text


def _as_typed(key: str) -> str:
    """Return a key as a user types it."""
    return key.replace(".init_args.", ".").removesuffix(".class_path")


def _short(origin: str) -> str:
    """Return a file by its shortest path, relative to the working directory where it lies in it."""
    path = Path(os.path.normpath(origin))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
