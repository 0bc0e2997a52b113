"""The example of every docstring of the metrics runs and says the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import maskexp.metrics

MODULES = sorted(m.name for m in pkgutil.walk_packages(maskexp.metrics.__path__, "maskexp.metrics."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("package", ["maskexp.metrics", "maskexp.metrics.functional"])
def test_every_public_name_has_an_example(package: str) -> None:
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    assert [name for name, value in public.items() if callable(value) and ">>> " not in (value.__doc__ or "")] == []
