"""The examples in the docstrings run and say the truth; those of masking and metrics are run in their own folders."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import maskexp.attribution
import maskexp.callbacks
import maskexp.cli
import maskexp.data
import maskexp.evaluation
import maskexp.methods
import maskexp.models
import maskexp.results
import maskexp.studies

ROOMS = (
    *(maskexp.attribution, maskexp.callbacks, maskexp.cli, maskexp.data, maskexp.evaluation, maskexp.methods),
    *(maskexp.models, maskexp.results, maskexp.studies),
)
MODULES = sorted(
    name
    for room in ROOMS
    for name in (room.__name__, *(m.name for m in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")))
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = maskexp.attribution.registry
    for table in ("_MAPS", "_TITLES"):  # an example registers a map
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(
    "room",
    [maskexp.attribution, maskexp.data, maskexp.evaluation, maskexp.methods, maskexp.models, maskexp.results],
)
def test_every_room_begins_with_an_example(room: object) -> None:
    assert ">>> " in (room.__doc__ or "")
