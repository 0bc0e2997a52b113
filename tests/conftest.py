"""Fixtures that all rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

# Tiny networks gain nothing from a second thread, and processes that share two cores lose a lot.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real photographs and pretrained weights that may lie beside the repository."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "weights").is_dir():
        pytest.skip("no real photographs and weights beside the repository (../shared)")
    return path
