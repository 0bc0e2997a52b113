"""Every argument that a user can give is explained in a plain sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from docstring_parser import parse_from_object

import maskexp.data
from maskexp import methods
from maskexp.data import ImageDataModule
from maskexp.methods import Method
from maskexp.methods.base import arguments_of
from tests.cli.conftest import Command

METHODS = [kind for name in methods.__all__ if isinstance(kind := getattr(methods, name), type)]
METHODS = [kind for kind in METHODS if issubclass(kind, Method) and kind is not Method]
DATA = [kind for name in maskexp.data.__all__ if isinstance(kind := getattr(maskexp.data, name), type)]
DATA = [kind for kind in DATA if issubclass(kind, ImageDataModule) and kind is not ImageDataModule]
MARKUP = re.compile(r":\w+:`")
SOURCES = ("paper", "release", "inferred", "ours")


def helps(kind: type) -> dict[str, str]:
    """Return the help of each argument, from the docstring of the class that declares it."""
    found: dict[str, str] = {}
    for parent in (parent for parent in kind.__mro__ if parent.__module__.startswith("maskexp")):
        for text in parse_from_object(parent).params:
            found.setdefault(text.arg_name, " ".join((text.description or "").split()))
    return found


@pytest.mark.parametrize("kind", [*METHODS, *DATA], ids=lambda kind: kind.__name__)
def test_every_argument_has_a_plain_help(kind: type) -> None:
    described = helps(kind)
    arguments = set(arguments_of(kind)) - {"arguments"}
    assert arguments
    for name in arguments:
        assert described.get(name), f"{kind.__name__}.{name} has no help"
        assert not MARKUP.search(described[name]), f"{kind.__name__}.{name}: {described[name]}"


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_every_default_of_a_method_says_where_it_comes_from(kind: Any) -> None:
    described = helps(kind)
    silent = {name for name in arguments_of(kind) if not any(source in described[name] for source in SOURCES)}
    assert silent <= {"spec", "milestones"} | {f"{part}_checkpoint" for part in ("detector", "predictor", "classifier")}


def test_the_command_shows_it(maskexp: Command) -> None:
    outcome = maskexp("fit", "--model.help", "AIM")
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "Target τ of the active fraction of each stage's mask, in (0, 1] (paper's tables: 0.25 and 0.35)" in text
    assert ":class:" not in text
    assert ":math:" not in text
    assert "--model.spec" not in text
