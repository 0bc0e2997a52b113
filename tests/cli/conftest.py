"""A small trained run, and the command line with its output caught."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from maskexp.cli.main import main
from maskexp.results import RunDirectory

SMALL = [
    "--model.backbone=test_resnet",
    "--model.weights=null",
    "--data=SyntheticBirds",
    "--data.image_size=32",
    "--data.train_size=24",
    "--data.val_size=8",
    "--data.test_size=12",
    "--data.batch_size=8",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
"""Arguments that make any method train in a second."""

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)  # networks this small are ten times slower on the threads of a busy machine

CPU = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


@dataclass(frozen=True)
class Outcome:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What follows the last ``maskexp:`` at the start of a line on stderr."""
        return f"\n{self.err.strip()}".rpartition("\nmaskexp: ")[2]


Command = Callable[..., Outcome]


@pytest.fixture
def maskexp(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process."""

    def run(*args: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of AIM; tests read it and write elsewhere."""
    run = RunDirectory(tmp_path_factory.mktemp("trained") / "run")
    assert main(["fit", "--model", "AIM", *SMALL, f"--run_dir={run}", "--model.tau=0.5"]) == 0
    return run
