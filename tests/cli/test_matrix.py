"""``maskexp matrix``, ``table`` and ``fit --row`` through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from maskexp.cli import matrix
from tests.cli.conftest import SMALL, Command
from tests.cli.test_main import PROBE
from tests.studies import stand_in
from tests.studies.stand_in import finish, write_study
from tests.studies.test_cells import wait_for


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path, {"rows": ["erm.yaml", "aim.yaml"]})


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that take no time; those of AIM fail."""
    monkeypatch.setattr(matrix, "fit_command", lambda folder: stand_in.command(folder, code=2 * ("aim" in folder.name)))


@pytest.mark.usefixtures("stand_ins")
def test_a_study_runs_and_says_what_failed_and_where_its_log_is(study: Path, tmp_path: Path, maskexp: Command) -> None:
    runs = tmp_path / "runs"
    done = maskexp("matrix", study, "--runs", runs, "--jobs", "2")
    assert done.code == 1
    assert "aim, seed 0: failed (there is no model 'AIMM'; did you mean 'AIM'?); log: " in done.err
    assert "2 done, 2 failed" in done.err
    again = maskexp("matrix", study, "--runs", runs, "--retry-failed")
    assert "2 failed because of their configuration" in again.err
    assert "started" not in again.err
    table = maskexp("table", study, "--runs", runs)
    assert table.code == 0
    assert "0.900 ± 0.000" in table.out
    assert "aim, seed 1: failed" in table.out


@pytest.mark.usefixtures("stand_ins")
def test_failed_cells_run_again_when_asked(study: Path, tmp_path: Path, maskexp: Command) -> None:
    runs = tmp_path / "runs"
    maskexp("matrix", study, "--runs", runs)
    for failure in runs.glob("*/failed.json"):
        failure.write_text(failure.read_text().replace('"exit_code": 2', '"exit_code": 1'))
    assert "2 failed before and are left" in maskexp("matrix", study, "--runs", runs).err
    assert maskexp("matrix", study, "--runs", runs, "--retry-failed").err.count("started") == 2


@pytest.mark.usefixtures("stand_ins")
def test_stale_cells_run_again_when_asked(study: Path, tmp_path: Path, maskexp: Command) -> None:
    runs = tmp_path / "runs"
    maskexp("matrix", study, "--runs", runs)
    erm = next(runs.glob("erm-*-s0-*"))
    finish(erm, {"test/acc": 0.1}, version="0.0.1")
    assert "1 are stale" in maskexp("matrix", study, "--runs", runs).err
    assert "set aside as" in maskexp("matrix", study, "--runs", runs, "--rerun-stale").err
    assert json.loads((erm / "metrics.json").read_text()) == {"test/acc": 0.9}


def test_status_and_plan_change_nothing(study: Path, tmp_path: Path, maskexp: Command) -> None:
    runs = tmp_path / "runs"
    plan = maskexp("matrix", study, "--runs", runs, "--dry-run")
    assert "4 of 4 cells would run; how long is not known" in plan.out
    status = json.loads(maskexp("matrix", study, "--runs", runs, "--status", "--json").out)
    assert status["counts"] == {"missing": 4}
    assert {(cell["row"], cell["seed"]) for cell in status["cells"]} == {(r, s) for r in ("erm", "aim") for s in (0, 1)}
    assert not runs.exists()
    folder = Path(next(cell["folder"] for cell in status["cells"] if cell["row"] == "erm"))
    finish(folder, {"test/acc": 0.5})
    plan = maskexp("matrix", study, "--runs", runs, "--dry-run")
    assert "about 4 min 30 s with 1 at a time, judged by 1 of its runs" in plan.out
    assert "1 done, 3 missing" in maskexp("matrix", study, "--runs", runs, "--status").out


@pytest.mark.parametrize(
    "args", [["matrix", "--status"], ["matrix", "--dry-run"], ["matrix", "--status", "--json"], ["table"]]
)
def test_looking_needs_no_torch(args: list[str], study: Path) -> None:
    verb, *rest = args
    command = [sys.executable, "-c", PROBE, verb, str(study), *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["matrix"], "needs a study"),
        (["matrix", "nowhere.yaml"], "there is no configuration file 'nowhere.yaml'"),
        (["matrix", "{study}", "--jobs", "0"], "at least 1"),
        (["matrix", "{erm}"], "is no study"),
        (["matrix", "{study}", "--json"], "add --status"),
        (["matrix", "{study}", "--time", "08:00:00"], "--time is for SLURM: add --launcher slurm"),
        (["matrix", "{study}", "--singleton"], "--singleton is for SLURM"),
        (["matrix", "--cell", "x"], "--cell needs --runs"),
        (["matrix", "--cell", "x", "--runs", "nowhere"], "is no prepared cell"),
        (["matrix", "{study}", "--launcher", "slurm", "--template", "nowhere"], "there is no template 'nowhere'"),
        (["fit", "--config", "{study}"], "is a study; fit one row by --row NAME"),
        (["fit", "--config", "{study}", "--row", "erms"], "did you mean 'erm'?"),
        (["fit", "--row", "erm"], "give exactly one --config"),
    ],
)
def test_mistakes_are_one_sentence(args: list[str], complaint: str, study: Path, maskexp: Command) -> None:
    done = maskexp(*(arg.format(study=study, erm=study.with_name("erm.yaml")) for arg in args))
    assert done.code == 2
    assert complaint in done.complaint
    assert not (study.parent / "runs").exists()


def test_one_row_of_a_study_starts_by_itself(study: Path, maskexp: Command) -> None:
    values = yaml.safe_load(study.read_text())
    values["rows"].append({"name": "aim_35", "file": "aim.yaml", "overrides": {"model.tau": 0.35}})
    study.write_text(yaml.safe_dump(values))
    done = maskexp("fit", "--config", study, "--row", "aim_35", "--model.stages=1", "--print_config")
    config = yaml.safe_load(done.out)
    assert (config["model"]["init_args"]["tau"], config["model"]["init_args"]["stages"]) == (0.35, 1)


def test_table_writes_a_file(study: Path, tmp_path: Path, maskexp: Command) -> None:
    out = tmp_path / "table.tex"
    assert maskexp("table", study, "--runs", tmp_path / "runs", "--format", "latex", "--output", out).out == ""
    assert out.read_text().endswith("\\end{tabular}\n")


def test_a_template_of_ones_own_has_to_use_what_a_cell_needs(study: Path, tmp_path: Path, maskexp: Command) -> None:
    template = tmp_path / "mine.sbatch"
    template.write_text("#!/bin/bash\n{{cels}}\n")
    refused = maskexp("matrix", study, "--runs", tmp_path / "r", "--launcher", "slurm", "--template", template)
    assert (refused.code, "did you mean 'cells'?" in refused.complaint) == (1, True)


SMALL_ROW = {key.removeprefix("--"): value for key, _, value in (flag.partition("=") for flag in SMALL)}
QUICK = {key: yaml.safe_load(value) for key, value in SMALL_ROW.items() if key != "data"}


@pytest.mark.slow
def test_real_trainings_killed_and_restarted(tmp_path: Path) -> None:
    """Three rows, one with an unknown method; the launcher is interrupted, then killed, then left to end."""
    file = write_study(
        tmp_path,
        {
            "rows": ["erm.yaml", "aim.yaml", {"name": "typo", "file": "typo.yaml"}],
            "seeds": [0],
            "overrides": QUICK | {"trainer.max_epochs": 4},
        },
        {
            "erm.yaml": {"model": "ERM", "data": "SyntheticBirds"},
            "aim.yaml": {"model": "AIM", "data": "SyntheticBirds"},
            "typo.yaml": {"model": "AIMM", "data": "SyntheticBirds"},
        },
    )
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "maskexp", "matrix", str(file), "--runs", str(runs)]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for_any(runs, "erm-*/config.yaml")
    launcher.send_signal(signal.SIGINT)
    assert "go on with: maskexp matrix" in launcher.communicate()[1]
    assert launcher.returncode == 130
    launcher = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for_any(runs, "erm-*/.lock")
    time.sleep(1)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    for _ in range(100):  # what the killed launcher started may still run
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "running" not in done.stderr.splitlines()[-1]:
            break
        time.sleep(1)
    assert "2 done, 1 failed" in done.stderr
    assert "there is no model 'AIMM'; did you mean 'AIM'?" in done.stderr
    assert done.returncode == 1
    for folder in (*runs.glob("erm-*"), *runs.glob("aim-*")):
        assert "test/acc" in json.loads((folder / "metrics.json").read_text())


def wait_for_any(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"{pattern} never came"
        time.sleep(0.05)
    wait_for(next(folder.glob(pattern)))
