"""States are derived from what lies there; a cell runs once, whoever starts it and whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from maskexp.studies import Runs, StudyError, run_cell
from maskexp.studies.cells import fit_command, progress
from maskexp.studies.records import read_record
from tests.studies.stand_in import command, finish, study_of


def states(runs: Runs, *folders: str) -> list[str]:
    study = study_of(runs.path.parent)
    found = runs.states(study.cells)
    return [found[cell.folder].name for cell in study.cells]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def test_states_follow_the_files(runs: Runs) -> None:
    study = study_of(runs.path.parent)
    folders = [runs.folder(cell) for cell in study.cells]
    assert states(runs) == ["missing"] * 4
    runs.prepare(study.cells[0])
    assert states(runs)[0] == "missing", "prepared, but never started"
    run_cell(folders[0], command)
    (folders[1] / "checkpoints").mkdir(parents=True)
    run_cell(folders[2], partial(command, code=1))
    finish(folders[3], {"test/acc": 1.0}, version="0.0.1")
    assert states(runs) == ["done", "interrupted", "failed", "stale"]


def test_a_half_deleted_run_goes_on(runs: Runs) -> None:
    study = study_of(runs.path.parent)
    folder = runs.folder(study.cells[0])
    finish(folder, {"test/acc": 1.0})
    for damage in ("", "{", "[]", '{"test/acc": "0.5"}', '{"test/acc": NaN}', '{"test/acc": true}'):
        (folder / "metrics.json").write_text(damage)
        state = runs.states(study.cells)[folder.name]
        assert (state.name, "half deleted" in state.detail) == ("interrupted", True)
    (folder / "metrics.json").unlink()
    assert run_cell(folder, command).result == "done"
    assert states(runs)[0] == "done"


@pytest.mark.parametrize(
    "damage", [{"data": "x"}, {"started": "y", "ended": 3}, {"evaluations": {"test": []}}, {"started": None}]
)
def test_a_damaged_record_hides_no_other_run(damage: dict[str, Any], runs: Runs) -> None:
    study = study_of(runs.path.parent)
    finish(runs.folder(study.cells[0]), {"test/acc": 1.0}, **damage)
    failed = runs.folder(study.cells[1])
    failed.mkdir(parents=True)
    (failed / "failed.json").write_text('{"exit_code": null, "attempts": "two"}')
    assert states(runs)[:2] == ["done", "failed"]
    assert read_record(runs.folder(study.cells[0])).metrics == {"test/acc": 1.0}


def test_a_run_on_data_that_has_changed_since_is_stale(runs: Runs) -> None:
    study = study_of(runs.path.parent)
    old, new = (runs.folder(cell) for cell in study.row("erm").cells)
    finish(old, {"test/acc": 1.0}, digest="old")
    assert states(runs)[0] == "done"
    finish(new, {"test/acc": 1.0}, digest="new", ended="2026-02-01T10:00:00+00:00")
    found = runs.states(study.cells)
    assert (found[old.name].name, found[old.name].detail) == ("stale", "its data has changed since")
    assert found[new.name].name == "done"


def test_a_stale_run_is_set_aside_whole(runs: Runs) -> None:
    cell = study_of(runs.path.parent).cells[0]
    finish(runs.folder(cell), {"test/acc": 1.0}, version="0.0.1")
    aside = runs.set_aside(cell)
    assert (aside / "metrics.json").is_file()
    assert states(runs)[0] == "missing"


def test_a_failure_is_written_down_with_its_sentence(runs: Runs) -> None:
    cell = study_of(runs.path.parent).cells[0]
    folder = runs.prepare(cell)
    for attempts in (1, 2):
        found = run_cell(folder, partial(command, code=2))
        assert (found.result, found.exit_code) == ("failed", 2)
        record = json.loads((folder / "failed.json").read_text())
        assert (record["exit_code"], record["attempts"]) == (2, attempts)
        assert record["reason"] == "there is no model 'AIMM'; did you mean 'AIM'?"
        assert record["log"] == str(folder / "log.txt")
    state = runs.states([cell])[cell.folder]
    assert (state.name, state.exit_code, state.attempts) == ("failed", 2, 2)
    assert run_cell(folder, command).result == "done"
    assert not (folder / "failed.json").exists()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let programs that are started be interrupted, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("fate", "result", "code"),
    [
        ("requeue", "stopped", 75),
        (str(int(signal.SIGUSR1)), "stopped", 138),
        (str(int(signal.SIGTERM)), "stopped", 143),
        (str(int(signal.SIGINT)), "stopped", 130),
        (str(int(signal.SIGKILL)), "failed", 137),
    ],
)
def test_exit_codes(fate: str, result: str, code: int, runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    found = run_cell(folder, partial(command, fate=fate))
    assert (found.result, found.exit_code) == (result, code)
    assert states(runs)[0] == ("interrupted" if result == "stopped" else "failed")


def test_a_command_that_leaves_nothing_has_failed(runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    assert "without DONE" in run_cell(folder, lambda _: ["true"]).detail
    assert "cannot be started" in run_cell(folder, lambda _: ["/no/such/program"]).detail


def test_a_cell_that_runs_is_left_alone(runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    seen = []

    def look(process: subprocess.Popen[bytes]) -> None:
        seen.append(states(runs)[0])
        seen.append(run_cell(folder, command).result)

    assert run_cell(folder, partial(command, seconds=0.3), started=look).result == "done"
    assert seen == ["running", "elsewhere"]
    assert (folder / "runs").read_text() == "run\n"


LAUNCHER = """
import sys
from functools import partial
from pathlib import Path
from typing import Any
from maskexp.studies import run_cell
from tests.studies.stand_in import command
print(run_cell(Path(sys.argv[1]), partial(command, seconds=float(sys.argv[2]))).result, flush=True)
"""


def test_the_lock_outlives_a_launcher_that_is_killed(runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(folder), "1.5"], stdout=subprocess.PIPE)
    wait_for(folder / "runs")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert run_cell(folder, command).result == "elsewhere", "the command still runs"
    wait_for(folder / "DONE")
    time.sleep(0.2)
    assert states(runs)[0] == "done"
    assert (folder / "runs").read_text() == "run\n"


def test_many_launchers_at_once_run_a_cell_once(runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    launchers = [
        subprocess.Popen([sys.executable, "-c", LAUNCHER, str(folder), "0.5"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [launcher.communicate()[0].strip() for launcher in launchers]
    assert set(said) <= {"done", "elsewhere"}
    assert (folder / "runs").read_text() == "run\n"


def test_a_full_disk_is_one_sentence(runs: Runs) -> None:
    folder = runs.prepare(study_of(runs.path.parent).cells[0])
    (folder / "log.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="its disk is full"):
        run_cell(folder, command)
    assert states(runs)[0] == "interrupted"


def test_two_studies_with_one_name_are_refused(runs: Runs, tmp_path: Path) -> None:
    one = study_of(tmp_path / "one")
    runs.claim(one)
    runs.claim(one)
    other = study_of(tmp_path / "two")
    with pytest.raises(StudyError, match=r"already holds the study 'toy' of .*one.*; rename one of the two"):
        runs.claim(other)
    one.file.write_text(one.file.read_text().replace("study: toy", "study: toy2"))
    runs.claim(other)


def test_progress_is_the_epoch_of_the_newest_log(tmp_path: Path) -> None:
    assert progress(tmp_path) == ""
    for version, epoch in ((0, 9), (1, 3)):
        log = tmp_path / "logs" / f"version_{version}" / "metrics.csv"
        log.parent.mkdir(parents=True)
        log.write_text(f"epoch,loss,step\n{epoch - 1},0.5,10\n{epoch},0.4,20\n")
        os.utime(log, (version, version))
    assert progress(tmp_path) == "epoch 4"


def test_a_cell_is_one_fit_that_goes_on_where_it_was(tmp_path: Path) -> None:
    words = fit_command(tmp_path)
    assert words[1:4] == ["-m", "maskexp", "fit"]
    assert words[words.index("--ckpt_path") + 1] == "last"
    assert words[words.index("--run_dir") + 1] == str(tmp_path)


def wait_for(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)
