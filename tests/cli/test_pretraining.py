"""COMET's detector: trained first, found again, shared by ranks, gone on with after a kill, refused in a sentence."""

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
from filelock import FileLock

from maskexp.cli.errors import CommandError
from maskexp.cli.pretraining import train_first
from maskexp.methods.pretraining import Pretraining
from maskexp.results import RunDirectory
from tests.cli.conftest import SMALL, Command

COMET = ["--model=COMET", *SMALL, "--model.selector=test_resnet", "--model.selector_stride=4", "--model.lr=1e-3"]
COMET += ["--gallery.every_n_epochs=0"]
ROOT = Path(__file__).resolve().parents[2]


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def same_weights(one: Path, two: Path) -> bool:
    states = [content(path)["state_dict"] for path in (one, two)]
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def detectors(folder: Path) -> list[RunDirectory]:
    return [RunDirectory(path) for path in sorted(folder.glob("detectors/erm-*"))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``a`` and the detector that it trained first."""
    folder = tmp_path_factory.mktemp("comet")
    done = command(folder, "fit", *COMET, "--run_dir=a")
    assert done.returncode == 0, done.stderr
    assert "training the detector first: detectors/erm-test_resnet-" in done.stderr
    return folder


def command(cwd: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskexp", *map(str, args)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_next_run_finds_the_detector(finished: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    (detector,) = detectors(finished)
    assert detector.done
    assert detector.read_config()["model"]["class_path"].endswith("ERM")
    written = detector.checkpoint("best").stat().st_mtime_ns  # type: ignore[union-attr]
    outcome = maskexp("fit", *COMET, "--run_dir=b")
    assert outcome.code == 0, outcome.err
    assert f"detector: detectors/{detector.path.name}" in outcome.err
    assert detector.checkpoint("best").stat().st_mtime_ns == written  # type: ignore[union-attr]
    runs = [RunDirectory(finished / name) for name in ("a", "b")]
    assert runs[0].read_metrics() == runs[1].read_metrics(), "found or trained, the run draws the same"
    assert same_weights(*(run.checkpoints / "best.ckpt" for run in runs))


def test_the_detector_of_a_run_lies_in_its_checkpoint(finished: Path) -> None:
    (detector,) = detectors(finished)
    state = content(finished / "a" / "checkpoints" / "best.ckpt")
    trained = content(detector.checkpoints / "best.ckpt")["state_dict"]
    assert state["hyper_parameters"]["detector_checkpoint"] == f"detectors/{detector.path.name}/checkpoints/best.ckpt"
    for name, value in trained.items():
        assert torch.equal(state["state_dict"][name.replace("network.", "network.detector.", 1)], value)


def test_a_given_checkpoint_is_used(
    finished: Path, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (detector,) = detectors(finished)
    given = detector.checkpoints / "last.ckpt"
    assert maskexp("fit", *COMET, "--run_dir=a", f"--model.detector_checkpoint={given}").code == 0
    assert not detectors(tmp_path)
    state, trained = content(tmp_path / "a" / "checkpoints" / "last.ckpt"), content(given)
    for name, value in trained["state_dict"].items():
        assert torch.equal(state["state_dict"][name.replace("network.", "network.detector.", 1)], value)


@pytest.mark.parametrize("variant", [["--model.detector=trainable"], ["--model.detector=none"]], ids=["td", "without"])
def test_variants_without_a_fixed_detector_train_none(
    variant: list[str], tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert maskexp("fit", *COMET, *variant, "--run_dir=a", "--trainer.max_epochs=1").code == 0
    assert not (tmp_path / "detectors").exists()


def test_a_trial_run_tries_both_trainings(tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert maskexp("fit", *COMET, "--run_dir=a", "--trainer.fast_dev_run=1").code == 0
    (detector,) = detectors(tmp_path)
    assert content(detector.checkpoints / "last.ckpt")["global_step"] == 1


def test_what_changes_the_detector_changes_its_name(tmp_path: Path) -> None:
    need = Pretraining("detector", "ERM", {"backbone": "resnet18", "lr": 0.1}, 7, "detector_checkpoint")
    config: dict[str, Any] = {
        "seed_everything": 0,
        "data": {"class_path": "WaterBirds", "init_args": {"root": "x", "image_size": 32, "num_workers": 2}},
        "selection": {"metric": "auto"},
        "trainer": {"max_epochs": 30, "logger": True, "callbacks": ["x"], "fast_dev_run": False, "precision": None},
        "model": {"class_path": "COMET", "init_args": {"area_budget": 0.1}},
    }
    seen: list[tuple[str, dict[str, Any]]] = []

    def start(configuration: Any, run: RunDirectory, checkpoint: Path | None) -> bool:
        seen.append((run.path.name, configuration.values))
        run.checkpoints.mkdir(parents=True)
        (run.checkpoints / "best.ckpt").touch()
        run.mark_done()
        return True

    def digest(change: dict[str, Any], data: str = "d", need: Pretraining = need) -> str:
        path = train_first(need, config | change, data, RunDirectory(tmp_path / "runs" / "r"), start)
        return path.parents[1].name

    first = digest({})
    assert first.startswith("erm-resnet18-")
    assert seen[0][1]["trainer"] == {
        "max_epochs": 7, "logger": None, "callbacks": None, "fast_dev_run": False, "precision": None
    }  # fmt: skip
    moved = {"class_path": "WaterBirds", "init_args": {"root": "elsewhere", "image_size": 32.0, "num_workers": 0}}
    assert digest({"model": {}, "data": moved, "seed_everything": 0.0}) == first
    assert len(seen) == 1
    larger = {"class_path": "WaterBirds", "init_args": {"root": "x", "image_size": 64}}
    others = [
        digest({"seed_everything": 1}),
        digest({"data": larger}),
        digest({"trainer": config["trainer"] | {"precision": "bf16-mixed"}}),
        digest({"selection": {"metric": "acc"}}),
        digest({"trainer": config["trainer"] | {"check_val_every_n_epoch": 2}}),
        digest({"trainer": config["trainer"] | {"val_check_interval": 0.5}}),
        digest({}, data="e"),
        digest({}, need=Pretraining("detector", "ERM", {"backbone": "resnet18", "lr": 0.2}, 7, "detector_checkpoint")),
        digest({}, need=Pretraining("detector", "ERM", need.arguments, 8, "detector_checkpoint")),
    ]
    assert len({first, *others}) == 10


def test_a_detector_that_ran_out_of_time_is_not_done_and_is_gone_on_with(
    tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = maskexp("fit", *COMET, "--run_dir=a", "--model.detector_epochs=40", "--trainer.max_time=00:00:00:01")
    assert outcome.code == 2
    (detector,) = detectors(tmp_path)
    assert (
        f"trainer.max_time ended the training of the detector in detectors/{detector.path.name} before its last epoch"
        in outcome.complaint
    )
    assert not detector.done
    assert not (tmp_path / "a").exists()
    reached = content(detector.checkpoints / "last.ckpt")["epoch"]
    assert reached < 39
    outcome = maskexp("fit", *COMET, "--run_dir=a", "--model.detector_epochs=40")
    assert outcome.code == 0, outcome.err
    assert "going on with the detector first" in outcome.err
    assert len(detectors(tmp_path)) == 1
    assert detector.done
    assert content(detector.checkpoints / "last.ckpt")["epoch"] == 39


def test_a_job_whose_ranks_run_already_does_not_wait_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = Pretraining("detector", "ERM", {"backbone": "b"}, None, "detector_checkpoint")
    config = {"seed_everything": 0, "data": {}, "trainer": {"fast_dev_run": False}}
    places: list[Path] = []

    def start(configuration: Any, run: RunDirectory, checkpoint: Path | None) -> bool:
        places.append(run.path)
        return True

    with pytest.raises(CommandError, match=r"holds no best\.ckpt after the training of the detector"):
        train_first(need, config, "d", RunDirectory(tmp_path / "r"), start)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        FileLock(places[0].parent / f".{places[0].name}.lock"),
        pytest.raises(CommandError, match=r"another job is training in .*; start again when it has ended"),
    ):
        train_first(need, config, "d", RunDirectory(tmp_path / "r"), start)


# --- what a user gets wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model.area_budget=0"], "area_budget is 0.0; the mask area that is not penalised must lie in (0, 1)"),
        (["--model.area_budget=1"], "area_budget is 1.0; the mask area that is not penalised must lie in (0, 1)"),
        (["--model.objective=hinge"], "among 2 classes has a loss of ln 2 = 0.693; choose a smaller --model.gap"),
        (["--model.objective=hinge", "--model.gap=0.7"], "gap is 0.7, but a detector that finds nothing"),
        (["--model.objective=papr"], "model.objective is 'papr', but has to be one of ['paper', 'hinge']"),
        (["--model.hiding=gray"], "there is no way of hiding called 'gray'"),
        (["--model.detector=trainable", "--model.detector_checkpoint=x.ckpt"], "nothing starts from a pre-trained"),
        (["--model.detector_checkpoint=none.ckpt"], "none.ckpt"),
        (["--model.selector_stride=5"], "the selector needs maps of stride 5 and 10, but 'test_resnet' has none of 5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments(
    flags: list[str], sentence: str, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = maskexp("fit", *COMET, *flags)
    assert outcome.code != 0
    assert sentence in outcome.complaint
    assert "Traceback" not in outcome.err
    assert "\n" not in outcome.complaint
    assert not list(tmp_path.rglob("*.yaml")), "no run was begun"


def test_a_detector_of_other_classes(
    finished: Path, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (detector,) = detectors(finished)
    other = content(detector.checkpoints / "best.ckpt")
    other["maskexp"]["data_spec"]["class_names"] = ["cat", "dog"]
    other["maskexp"]["data_spec"]["group_names"] = ["cat/land", "cat/water", "dog/land", "dog/water"]
    torch.save(other, tmp_path / "cats.ckpt")
    monkeypatch.chdir(tmp_path)
    outcome = maskexp("fit", *COMET, "--model.detector_checkpoint=cats.ckpt", "--run_dir=a")
    assert outcome.code == 1
    assert "the checkpoint knows the 2 classes of synthetic_birds (cat, dog)" in outcome.complaint
    assert not (tmp_path / "a").exists()


def test_a_detector_that_is_no_classifier_or_another_one(
    finished: Path, trained: RunDirectory, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = maskexp("fit", *COMET, f"--model.detector_checkpoint={trained.checkpoints / 'best.ckpt'}")
    assert outcome.complaint.endswith("holds the method AIM; COMET needs a detector of ERM")
    (detector,) = detectors(finished)
    given = f"--model.detector_checkpoint={detector.checkpoints / 'best.ckpt'}"
    outcome = maskexp("fit", *COMET, given, "--model.backbone=small_convnet")
    assert outcome.complaint.endswith("give --model.detector_backbone test_resnet")


# --- ranks and kills -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_the_detector_and_then_the_run(tmp_path: Path) -> None:
    two = [*COMET, "--data.train_size=32", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"]
    first = command(tmp_path, "fit", *two, "--run_dir=a")
    assert first.returncode == 0, first.stderr
    (detector,) = detectors(tmp_path)
    runs = [detector, RunDirectory(tmp_path / "a")]
    for run in runs:
        assert run.done
        assert run.read_env()["world_size"] == 2
        assert content(run.checkpoints / "last.ckpt")["global_step"] == 2, "each rank had half of the samples"
    assert first.stderr.count("training the detector first") == 1
    again = command(tmp_path, "fit", *two, "--run_dir=b")
    assert again.returncode == 0, again.stderr
    assert "detector: detectors/" in again.stderr
    assert RunDirectory(tmp_path / "b").read_metrics() == runs[1].read_metrics()
    assert len(detectors(tmp_path)) == 1


@pytest.mark.slow
def test_a_killed_pretraining_goes_on(tmp_path: Path) -> None:
    flags = [*COMET, "--trainer.max_epochs=1", "--model.detector_epochs=12", "--data.train_size=80"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    arguments = [sys.executable, "-m", "maskexp", "fit", *flags, "--run_dir=a"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        arguments, cwd=tmp_path / "killed", env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "killed").glob("detectors/erm-*/checkpoints/last.ckpt")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (killed,) = detectors(tmp_path / "killed")
    assert not killed.done
    assert content(killed.checkpoints / "last.ckpt")["epoch"] < 11
    again = command(tmp_path / "killed", "fit", *flags, "--run_dir=a", "--ckpt_path=last")
    assert again.returncode == 0, again.stderr
    assert "going on with the detector first" in again.stderr
    assert command(tmp_path / "whole", "fit", *flags, "--run_dir=a").returncode == 0
    (whole,) = detectors(tmp_path / "whole")
    assert whole.path.name == killed.path.name
    assert same_weights(whole.checkpoints / "last.ckpt", killed.checkpoints / "last.ckpt")
    runs = [RunDirectory(tmp_path / name / "a") for name in ("whole", "killed")]
    assert runs[0].read_metrics() == runs[1].read_metrics()


@pytest.mark.slow
def test_a_killed_run_goes_on_without_its_detector(finished: Path, tmp_path: Path) -> None:
    (detector,) = detectors(finished)
    copy = tmp_path / "detector.ckpt"
    copy.write_bytes((detector.checkpoints / "best.ckpt").read_bytes())
    flags = [*COMET, f"--model.detector_checkpoint={copy}", "--trainer.max_epochs=3"]
    kill = ["--trainer.callbacks=tests.cli.kill.Kill", "--trainer.callbacks.moment=epoch_start"]
    kill += ["--trainer.callbacks.epoch=2"]
    assert command(tmp_path, "fit", *flags, "--run_dir=whole").returncode == 0
    assert command(tmp_path, "fit", *flags, "--run_dir=killed", *kill).returncode == -signal.SIGKILL
    copy.unlink()
    again = command(tmp_path, "fit", "--run_dir=killed", "--ckpt_path=last", "--trainer.callbacks=null")
    assert again.returncode == 0, again.stderr
    assert not detectors(tmp_path)
    whole, killed = (RunDirectory(tmp_path / name) for name in ("whole", "killed"))
    assert same_weights(whole.checkpoints / "last.ckpt", killed.checkpoints / "last.ckpt")
    assert whole.read_metrics() == killed.read_metrics()
