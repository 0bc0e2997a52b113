"""The Python examples of the README run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def example(start: str) -> str:
    """Return the one Python block of the README that begins with a line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(start)]
    return str(found)


def test_a_method_trains_under_a_plain_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = example("import torch\n")
    assert len(code.splitlines()) <= 15
    variables: dict[str, Any] = {}
    exec(code, variables)  # noqa: S102, it is our own README
    mask = variables["mask"]
    assert mask.shape[:2] == (1, 1)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
