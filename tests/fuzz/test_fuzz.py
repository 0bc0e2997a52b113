"""A short run of the fuzz suite; ``make fuzz`` runs all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.__main__ import at_home, run


def test_no_input_and_no_command_line_is_answered_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "MASKEXP_CACHE", "XDG_CACHE_HOME", "MASKEXP_OFFLINE", "HF_HUB_OFFLINE", "WANDB_MODE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # to be restored
    monkeypatch.chdir(tmp_path)
    at_home(tmp_path)
    assert run(inputs=250, vectors=12, seed=1, folder=tmp_path, show=False) == []
