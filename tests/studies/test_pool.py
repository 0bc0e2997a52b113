"""The pool runs what it is given, whatever fails or is signalled, and leaves a folder that resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from maskexp.studies import Attempt, Pool, Runs, gpu_slots
from maskexp.studies.pool import child_environment
from tests.studies.stand_in import command, study_of


def prepared(tmp_path: Path, **content: object) -> list[Path]:
    runs, study = Runs(tmp_path / "runs"), study_of(tmp_path, **content)  # type: ignore[arg-type]
    return [runs.prepare(cell) for cell in study.cells]


def quiet(folder: Path, event: str, attempt: Attempt | None) -> None:
    """Say nothing."""


def test_a_failing_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    folders = prepared(tmp_path)
    pool = Pool(2, lambda folder: command(folder, code=int("erm" in folder.name)))
    attempts = pool.run(folders, quiet)
    assert {name: a.result for name, a in attempts.items()} == {
        folder.name: "failed" if "erm" in folder.name else "done" for folder in folders
    }


def test_a_cell_that_asks_for_it_is_started_again(tmp_path: Path) -> None:
    folders = prepared(tmp_path)
    attempts = Pool(2, partial(command, fate="requeue")).run(folders, quiet)
    assert {attempt.result for attempt in attempts.values()} == {"done"}
    assert all((folder / "runs").read_text() == "run\n" * 2 for folder in folders)


def test_at_most_so_many_run_at_a_time(tmp_path: Path) -> None:
    running, most, guard = set[str](), [0], threading.Lock()

    def watch(folder: Path, event: str, attempt: Attempt | None) -> None:
        with guard:
            if event == "started":
                running.add(folder.name)
            else:
                running.discard(folder.name)
            most[0] = max(most[0], len(running))

    Pool(2, partial(command, seconds=0.2)).run(prepared(tmp_path, seeds=[0, 1, 2]), watch)
    assert most == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_cells_and_the_folder_resumes(number: signal.Signals, tmp_path: Path) -> None:
    folders = prepared(tmp_path)
    pool = Pool(2, partial(command, seconds=30))
    threading.Timer(0.7, os.kill, (os.getpid(), number)).start()
    start, handler = time.monotonic(), signal.getsignal(number)
    attempts = pool.run(folders, quiet)
    assert time.monotonic() - start < 10
    assert pool.stopped_by == number
    assert [attempt.exit_code for attempt in attempts.values()] == [143, 143]
    assert not any((folder / "failed.json").exists() for folder in folders)
    assert signal.getsignal(number) is handler
    again = Pool(2, command).run(folders, quiet)
    assert {attempt.result for attempt in again.values()} == {"done"}


def test_a_cell_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = ["bash", "-c", "trap '' TERM; while true; do sleep 0.1; done"]
    pool = Pool(1, lambda _: deaf, grace=0.5)
    threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGTERM)).start()
    attempts = pool.run(prepared(tmp_path)[:1], quiet)
    assert [attempt.exit_code for attempt in attempts.values()] == [137]


def test_a_full_disk_ends_the_pool_in_a_sentence(tmp_path: Path) -> None:
    folders = prepared(tmp_path)
    (folders[0] / "log.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="its disk is full"):
        Pool(1, command).run(folders, quiet)


def test_cells_in_an_allocation_do_not_look_like_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = child_environment(2, "1")
    assert not any(key.startswith("SLURM_") for key in environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert int(environment["OMP_NUM_THREADS"]) >= 1


LAUNCHER = """
import sys
from functools import partial
from pathlib import Path
from maskexp.studies import Pool
from tests.studies.stand_in import command
Pool(3, partial(command, seconds=0.05)).run([Path(name) for name in sys.argv[1:]], lambda *_: None)
"""


def test_two_launchers_on_one_folder_never_run_a_cell_twice(tmp_path: Path) -> None:
    folders = prepared(tmp_path, seeds=list(range(8)))
    words = [sys.executable, "-c", LAUNCHER, *map(str, folders)]
    launchers = [subprocess.Popen(words) for _ in range(2)]
    assert [launcher.wait() for launcher in launchers] == [0, 0]
    assert all((folder / "runs").read_text() == "run\n" for folder in folders)
    assert all((folder / "DONE").exists() for folder in folders)


def test_gpus_are_divided_among_jobs() -> None:
    assert gpu_slots(1, {"CUDA_VISIBLE_DEVICES": "0,2,5"}) == ["0", "2", "5"]
    assert gpu_slots(2, {"CUDA_VISIBLE_DEVICES": "0,2,5"}) == ["0,2"]
    assert gpu_slots(1, {"CUDA_VISIBLE_DEVICES": ""}) == []


def test_a_cell_that_cannot_be_locked_fails_by_itself(tmp_path: Path) -> None:
    folders = prepared(tmp_path)
    (folders[0] / ".lock").mkdir()
    attempts = Pool(1, command).run(folders, quiet)
    assert [attempts[folder.name].result for folder in folders] == ["failed", *["done"] * (len(folders) - 1)]
    assert "cannot be locked: Is a directory" in attempts[folders[0].name].detail
