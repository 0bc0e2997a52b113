"""A tiny data set and a quiet trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from maskexp.callbacks import Evaluator
from maskexp.data import SyntheticBirds


@pytest.fixture(scope="session")
def birds() -> SyntheticBirds:
    return SyntheticBirds(correlation=0.75, image_size=32, train_size=16, val_size=8, test_size=12, batch_size=8)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    def make(**options: Any) -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        common = {"accelerator": "cpu", "devices": 1, "use_distributed_sampler": False, "default_root_dir": tmp_path}
        callbacks = [Evaluator(), *options.pop("callbacks", [])]
        return Trainer(
            callbacks=callbacks, **{"max_epochs": 1, "enable_checkpointing": False} | quiet | common | options
        )

    return make
