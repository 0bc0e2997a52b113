"""Killed and resumed, through the real command in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from maskexp.results import RunDirectory
from tests.cli.conftest import SMALL

COMMAND = [sys.executable, "-m", "maskexp", "fit", "--model=AIM", *SMALL]
RANDOM = ["--data.photometric=0.5", "--model.anneal_fraction=1.0", "--model.gumbel=softmax2", "--trainer.max_epochs=4"]
"""Everything that draws: colours, masks, crops, order; and what depends on the epoch: annealing, the schedule."""

TIMEOUT = 300


def fit(run: RunDirectory, *flags: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, f"--run_dir={run}", *flags], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def fit_until(run: RunDirectory, reached: Callable[[], bool], flags: Sequence[str]) -> None:
    """Start a training and kill it, without a chance to clean up, as soon as ``reached`` is true."""
    with subprocess.Popen([*COMMAND, f"--run_dir={run}", *flags], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + TIMEOUT
        while not reached():
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not run.done


def content(run: RunDirectory, name: str = "last") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run.checkpoints / f"{name}.ckpt", weights_only=True)
    return loaded


def assert_same_training(run: RunDirectory, other: RunDirectory) -> None:
    """Weights, optimiser, schedule, selection and numbers are equal to the last bit."""
    one, two = content(run), content(other)
    assert one["epoch"] == two["epoch"]
    assert one["state_dict"].keys() == two["state_dict"].keys()
    assert all(torch.equal(one["state_dict"][key], two["state_dict"][key]) for key in one["state_dict"])
    for state, same in zip(*(c["optimizer_states"][0]["state"].values() for c in (one, two)), strict=True):
        assert torch.equal(state["exp_avg_sq"], same["exp_avg_sq"])
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert one["callbacks"]["KeepCheckpoints"] == two["callbacks"]["KeepCheckpoints"]
    assert run.read_metrics() == other.read_metrics()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("uninterrupted") / "run")
    fit(run, *RANDOM)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_an_epoch_boundary_and_resumed_is_bit_equal(
    tmp_path: Path, uninterrupted: RunDirectory, workers: int
) -> None:
    """Epoch 1 is complete on disk when the process dies; the number of loading processes changes nothing."""
    run = RunDirectory(tmp_path / "run")
    flags = [*RANDOM, f"--data.num_workers={workers}"]
    fit_until(run, lambda: run.checkpoint("last") is not None and content(run)["epoch"] >= 1, flags)
    assert content(run)["epoch"] < 3
    fit(run, *flags, "--ckpt_path=last")
    assert run.done
    assert_same_training(run, uninterrupted)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_and_resumed(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    """The epoch is begun again: the run ends, and nothing was lost but time."""
    run = RunDirectory(tmp_path / "run")
    log = run.path / "logs" / "version_0" / "metrics.csv"
    flags = [*RANDOM, "--data.train_size=24"]

    def mid_epoch() -> bool:  # the step log is ahead of the epochs that are on disk
        if run.checkpoint("last") is None or not log.is_file():
            return False
        return log.read_text().count("\n") > 1

    fit_until(run, mid_epoch, flags)
    fit(run, *flags, "--ckpt_path=last")
    assert run.done
    assert_same_training(run, uninterrupted)
    assert not list(run.path.rglob("*.part*")), "an interrupted writer's file was left behind"


@pytest.mark.slow
def test_killed_before_the_first_checkpoint(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    run = RunDirectory(tmp_path / "run")
    fit_until(run, run.config_file.is_file, RANDOM)
    done = fit(run, *RANDOM, "--ckpt_path=last")
    assert "starting afresh" in done.stderr or run.checkpoint("last") is not None
    assert_same_training(run, uninterrupted)


@pytest.mark.slow
def test_killed_while_testing_the_selected_checkpoint(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    run = RunDirectory(tmp_path / "run")
    fit_until(run, lambda: bool(run.read_metrics()), RANDOM)
    fit(run, *RANDOM, "--ckpt_path=last")
    assert run.done
    assert_same_training(run, uninterrupted)


SAVING = """
import os, sys, torch
from maskexp.callbacks import WholeFileCheckpointIO
io, path = WholeFileCheckpointIO(), sys.argv[1]
i = 0
while True:
    io.save_checkpoint({"i": i, "values": torch.full((200_000,), float(i))}, path)
    i += 1
"""


def test_a_kill_while_writing_never_leaves_a_broken_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for delay in (0.0, 0.01, 0.02, 0.03):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(path)], env=os.environ) as process:
            before = path.stat().st_mtime_ns if path.exists() else 0
            while not path.exists() or path.stat().st_mtime_ns == before:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            process.kill()
        loaded = torch.load(path, weights_only=True)
        assert bool((loaded["values"] == loaded["i"]).all())
