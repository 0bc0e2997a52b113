"""Search in a folder: the trials' command is a stand-in that takes a moment instead of a training."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

optuna = pytest.importorskip("optuna")

from maskexp.studies.search import Search  # noqa: E402
from maskexp.studies.sweep import SweepError, read_sweep  # noqa: E402

TRIAL = """
import json, os, pathlib, sys, time
flags = dict(arg[2:].split("=", 1) for arg in sys.argv[1:] if "=" in arg)
folder = pathlib.Path(sys.argv[sys.argv.index("--run_dir") + 1])
with (folder / "starts").open("a") as file: file.write("x")
value = -abs(float(flags["x"]) - 0.3) - (flags.get("kind") == "bad")
for step in range(1, 4):
    time.sleep(float(os.environ.get("PAUSE", 0)))
    with open(os.environ["MASKEXP_VALIDATIONS"], "a") as file:
        file.write(json.dumps({"step": step, "metrics": {"val/acc": value}}) + "\\n")
if flags["x"] == "0.5" and flags.get("kind") == "broken": sys.exit("maskexp: out of luck")
(folder / "metrics.json").write_text(json.dumps({"val/acc": value}))
(folder / "DONE").write_text("now")
"""
SEARCH = """
import sys
from pathlib import Path
from maskexp.studies.search import Search
from maskexp.studies.sweep import read_sweep
Search(read_sweep(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), 0, print).run()
"""


def write(folder: Path, parameters: Any = None, **more: Any) -> Path:
    script = folder / "trial.py"
    script.write_text(TRIAL)
    content = {
        "method": "bayes",
        "metric": {"name": "val/acc", "goal": "maximize"},
        "command": ["${env}", sys.executable, str(script), "fit", "${args}"],
        "parameters": parameters or {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["good", "bad"]}},
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**content, **more}))
    return path


def search(folder: Path, file: Path, trials: int, seed: int = 0) -> tuple[Search, list[str]]:
    said: list[str] = []
    made = Search(read_sweep(file), folder / "trials", trials, seed, said.append)
    made.run()
    return made, said


@pytest.mark.slow
def test_twelve_trials_end_with_table_plots_and_the_best_command(tmp_path: Path) -> None:
    made, _ = search(tmp_path, write(tmp_path), 12)
    best = made.best()
    assert best is not None
    assert best.params["kind"] == "good"
    assert f"--x={best.params['x']}" in made.command(best)
    assert {path.name for path in made.write_report()} == {"trials.csv", "importance.png", "parallel_coordinates.png"}
    with (tmp_path / "trials" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert rows[0]["trial"] == str(best.number)
    assert [row["val/acc"] for row in rows] == sorted((row["val/acc"] for row in rows), key=float, reverse=True)


def test_what_is_proposed_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def proposed(name: str, seed: int) -> list[Any]:
        folder = tmp_path / name
        folder.mkdir()
        made, _ = search(folder, write(folder, method="random"), 3, seed)
        return [trial.params for trial in made.study.trials]

    assert proposed("one", 0) == proposed("two", 0) != proposed("three", 1)


def test_a_grid_runs_every_point_once_and_a_failed_one_does_not_stop_it(tmp_path: Path) -> None:
    space = {"x": {"values": [0.25, 0.5]}, "kind": {"values": ["good", "broken"]}}
    made, said = search(tmp_path, write(tmp_path, space, method="grid"), 4)
    states = {(t.params["x"], t.params["kind"]): t.state.name for t in made.study.trials}
    assert states == {
        (0.25, "good"): "COMPLETE",
        (0.25, "broken"): "COMPLETE",
        (0.5, "good"): "COMPLETE",
        (0.5, "broken"): "FAIL",
    }
    assert any("trial 3 failed: out of luck" in line for line in said)


def test_bad_trials_are_stopped_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAUSE", "0.8")
    monkeypatch.setattr("maskexp.studies.search.POLL", 0.1)
    space = {"x": {"values": [0.3, 0.9, 0.95]}}
    early = {"type": "hyperband", "min_iter": 1, "eta": 2}
    made, _ = search(tmp_path, write(tmp_path, space, method="grid", early_terminate=early), 3)
    assert [trial.state.name for trial in made.study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    search(tmp_path, write(tmp_path), 1)
    with pytest.raises(SweepError, match="holds the trials of another sweep"):
        search(tmp_path, write(tmp_path, {"x": {"min": 0.0, "max": 2.0}}), 1)


@pytest.mark.slow
def test_two_processes_share_the_trials_and_one_that_is_killed_leaves_nothing_undone(tmp_path: Path) -> None:
    file, folder = write(tmp_path), tmp_path / "trials"
    command = [sys.executable, "-c", SEARCH, str(file), str(folder), "8"]
    env = {**os.environ, "PAUSE": "0.3"}
    processes = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
    deadline = time.monotonic() + 60
    while len(list(folder.glob("trial-*/starts"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    processes[0].send_signal(signal.SIGKILL)
    for process in processes:
        process.wait(timeout=120)
    made, _ = search(tmp_path, file, 8)
    assert [trial.state.name for trial in made.study.trials] == ["COMPLETE"] * 8
    assert made.running_elsewhere() == 0
    starts = [(folder / f"trial-{number:04d}" / "starts").read_text() for number in range(8)]
    assert all(each == "x" for each in starts), "the trial of the killed process went on by itself, and ran once"
    values = [json.loads((folder / f"trial-{n:04d}" / "metrics.json").read_text())["val/acc"] for n in range(8)]
    assert [trial.value for trial in made.study.trials] == values


@pytest.mark.parametrize(
    "change",
    [
        {"metric": {"name": "val/loss", "goal": "maximize"}},
        {"metric": {"name": "val/acc", "goal": "minimize"}},
        {"command": ["${env}", sys.executable, "other.py", "fit", "${args}"]},
        {"early_terminate": {"type": "hyperband", "min_iter": 2}},
    ],
)
def test_a_changed_sweep_is_another_sweep(change: dict[str, Any], tmp_path: Path) -> None:
    search(tmp_path, write(tmp_path), 1)
    with pytest.raises(SweepError, match="holds the trials of another sweep"):
        search(tmp_path, write(tmp_path, **change), 2)
