"""The pages of the documentation run as they stand there, each in a folder of its own.

``bash`` blocks are run line by line, ``python`` blocks share their variables, a block with ``title="FILE"`` is written
to that file. What needs another machine, or minutes, stands in ``console`` blocks, which are not run; of these the
verbs are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maskexp.cli.main import VERBS, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / "start.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
RUN = ("bash", "python")
HEAVY = ("study", "first_aim", "own_data", "sweep")
"""Pages that take more than a few seconds."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str | None
    code: str


def blocks(page: Path) -> Iterator[Block]:
    for indent, language, info, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', info)
        lines = [line.removeprefix(indent) for line in code.splitlines()]
        yield Block(language, title[1] if title else None, "\n".join(lines) + "\n")


def commands(code: str) -> list[str]:
    """Return the commands of a shell block, without comments."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def run_shell(code: str) -> None:
    for command in commands(code):
        words = shlex.split(command, comments=True)
        if words[0] == "maskexp" and not {"&&", "|", ">", ";"} & set(words):
            assert main(words[1:]) == 0, command
        else:
            environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}.", "PATH": _path()}
            subprocess.run(["bash", "-euc", command], env=environment, check=True)


def _path() -> str:
    """Return a search path on which ``python`` and ``maskexp`` are those of the tests."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in HEAVY else ()) for page in PAGES],
    ids=lambda page: page.stem,
)
def test_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    shutil.copy(ROOT / "docs" / "gallery.png", tmp_path / "photo.png")
    before = set(sys.modules)
    variables: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.title is not None:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.code, str(page), "exec"), variables)  # noqa: S102, it is our own page
        elif block.language == "bash":
            run_shell(block.code)
    for name in set(sys.modules) - before:  # modules that the page wrote
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_commands_name_verbs_that_exist(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("bash", "console", "sh"):
            for command in commands(block.code):
                words = command.split()
                if words[0] == "maskexp":
                    assert words[1] in VERBS or words[1].startswith("-"), command


def test_every_tutorial_runs_something() -> None:
    assert all(any(block.language in RUN for block in blocks(page)) for page in PAGES)
