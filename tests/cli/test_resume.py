"""Killed and resumed, through the real command in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from maskexp.results import RunDirectory
from tests.cli.conftest import SMALL

ROOT = Path(__file__).resolve().parents[2]
RANDOM = ["--data.train_transform.photometric=0.5", "--trainer.max_epochs=4"]
AIM = ["--model=AIM", "--model.anneal_fraction=1.0", "--model.gumbel=softmax2"]
DYNCONV = [
    "--model=DynConv",
    "--model.temperatures=[5.0,2.5]",
    "--model.temperature_milestones=[0.25]",
    "--model.noise_until=0.5",
]
"""Everything that draws: colours, masks, crops, order; and what depends on the epoch: annealing, the schedules."""


def fit(run: RunDirectory, *flags: str, model: list[str] = AIM) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "maskexp", "fit", *model, *SMALL, *RANDOM, f"--run_dir={run}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)


def fit_and_be_killed(
    run: RunDirectory, *flags: str, moment: str, epoch: int = 0, batch: int = 0, model: list[str] = AIM
) -> None:
    kill = f"--trainer.callbacks.moment={moment}", f"--trainer.callbacks.epoch={epoch}"
    where = "--trainer.callbacks=tests.cli.kill.Kill", *kill, f"--trainer.callbacks.batch={batch}"
    done = fit(run, *flags, *where, model=model)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert run.holds_run
    assert not run.done


def resume(run: RunDirectory, *flags: str, model: list[str] = AIM) -> str:
    done = fit(run, *flags, "--trainer.callbacks=null", "--ckpt_path=last", model=model)
    assert done.returncode == 0, done.stderr
    assert run.done
    return done.stderr


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
    assert fit(run).returncode == 0
    return run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_an_epoch_boundary_and_resumed_is_bit_equal(
    tmp_path: Path, uninterrupted: RunDirectory, workers: int
) -> None:
    run, loading = RunDirectory(tmp_path / "run"), f"--data.num_workers={workers}"
    fit_and_be_killed(run, loading, moment="epoch_start", epoch=2)
    assert content(run)["epoch"] == 1
    resume(run, loading)
    assert_same_training(run, uninterrupted)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_and_resumed_begins_the_epoch_again(
    tmp_path: Path, uninterrupted: RunDirectory
) -> None:
    run = RunDirectory(tmp_path / "run")
    fit_and_be_killed(run, moment="batch_end", epoch=1, batch=1)
    assert content(run)["global_step"] == 3
    resume(run)
    assert_same_training(run, uninterrupted)
    assert not list(run.path.rglob("*.part*"))


@pytest.mark.slow
def test_dynconv_killed_in_the_middle_of_an_epoch_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")
    assert fit(whole, model=DYNCONV).returncode == 0
    fit_and_be_killed(run, moment="batch_end", epoch=2, batch=1, model=DYNCONV)
    resume(run, model=DYNCONV)
    assert_same_training(run, whole)


@pytest.mark.slow
def test_group_dro_on_balanced_groups_killed_in_the_middle_of_an_epoch_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    model = ["--model=GroupDRO", "--model.step_size=1.0", "--data.sampling=group_balanced"]
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")
    assert fit(whole, model=model).returncode == 0
    where = ["moment=batch_end", "epoch=2", "batch=1", "name=SIGTERM"]
    stop = ["--trainer.callbacks=tests.cli.kill.Kill", *(f"--trainer.callbacks.{each}" for each in where)]
    assert fit(run, *stop, model=model).returncode == 128 + signal.SIGTERM
    assert content(run)["global_step"] == 8
    resume(run, model=model)
    assert_same_training(run, whole)
    assert torch.equal(content(run)["group_weights"], content(whole)["group_weights"])


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_starts_afresh(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    run = RunDirectory(tmp_path / "run")
    fit_and_be_killed(run, moment="batch_end", batch=1)
    assert "starting afresh" in resume(run)
    assert_same_training(run, uninterrupted)


@pytest.mark.slow
def test_killed_while_testing_the_selected_checkpoint(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    run = RunDirectory(tmp_path / "run")
    fit_and_be_killed(run, moment="test")
    assert all(key.startswith("val/") for key in run.read_metrics())
    resume(run)
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


@pytest.mark.slow
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
