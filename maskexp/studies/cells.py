"""The runs of a study on disk: what state each is in, and how one is run exactly once.

::

    DIR/
      aim-syntheticbirds-s0-3f2a9c01b2d4/   one run, named after its configuration's digest
        cell.yaml      the composed configuration that is run
        .lock          locked by the process that runs the cell, and by nobody else
        log.txt        what it printed, one start after another
        failed.json    exit code, attempts and the log's end; only where the last attempt failed
        DONE, metrics.json, env.json …        the run's own
      studies/         which study files use this folder
      slurm/           what was submitted

States are derived from these files and never stored: they cannot contradict what is there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from maskexp._version import __version__
from maskexp.files import DiskFullError, atomic_write, names_full_disk, write_json
from maskexp.studies.locks import is_held, locked
from maskexp.studies.records import Record, read_json, read_record
from maskexp.studies.study import Cell, Study, StudyError

__all__ = ["Attempt", "CellState", "Runs", "StateName", "fit_command", "run_cell"]

StateName = Literal["missing", "queued", "running", "done", "stale", "failed", "interrupted"]
STATES: tuple[StateName, ...] = ("done", "running", "queued", "interrupted", "missing", "stale", "failed")

REQUEUE = (75, 138)
"""Exit codes of a run that is to be started again: it left when asked to, or SIGUSR1 met it before it could listen."""
STOPPED = (130, 143)
"""Exit codes of a run that somebody stopped by Ctrl-C or SIGTERM: no failure, it goes on when started again."""
BAD_CONFIGURATION = 2
TAIL_LINES = 20

Command = Callable[[Path], Sequence[str]]
"""Returns the command that runs the cell in a directory."""


@dataclass(frozen=True)
class CellState:
    """The state of a cell, and why.

    Attributes:
        name: ``missing`` (never started), ``queued`` (SLURM has it), ``running``, ``done``, ``stale`` (done by another
            version or on other data), ``failed``, or ``interrupted`` (goes on from its last checkpoint).
        detail: for the reader; empty where the name says it all.
        exit_code: of a failed cell.
        attempts: of a failed cell.
    """

    name: StateName
    detail: str = ""
    exit_code: int | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Attempt:
    """What came of trying to run a cell: ``done``, ``failed``, ``stopped``, or ``elsewhere`` (another has it)."""

    result: Literal["done", "failed", "stopped", "elsewhere"]
    detail: str = ""
    exit_code: int = 0


class Runs:
    """The folder that holds the runs of one or more studies.

    Args:
        path: the folder; it is created when something is run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def folder(self, cell: Cell) -> Path:
        """Return the directory of a cell's run."""
        return self.path / cell.folder

    def claim(self, study: Study) -> None:
        """Write down that ``study`` runs here.

        Raises:
            StudyError: if another study file of the same name does.
        """
        record = self.path / "studies" / f"{study.name}.json"
        file = str(study.file.resolve())
        known = read_json(record) or {}
        other = Path(str(known.get("file", file)))
        if str(other) != file and other.is_file() and _is_called(other, study.name):
            raise StudyError(
                f"{self.path} already holds the study {study.name!r} of {other}; rename one of the two, or give "
                f"{study.file} another --runs"
            )
        if known.get("file") != file:
            write_json(record, {"file": file})

    def prepare(self, cell: Cell) -> Path:
        """Create a cell's directory with its configuration, and return it."""
        folder = self.folder(cell)
        file = folder / "cell.yaml"
        if not file.is_file():
            with atomic_write(file) as partial:
                partial.write_text(yaml.safe_dump(_plain(cell.config), sort_keys=False, allow_unicode=True), "utf-8")
        return folder

    def states(
        self, cells: Sequence[Cell], submitted: Mapping[str, Literal["queued", "running"]] | None = None
    ) -> dict[str, CellState]:
        """Return the state of each cell by the name of its folder.

        Args:
            cells: of a study.
            submitted: what SLURM says about folders that it has.
        """
        newest: dict[str, tuple[str, str]] = {}  # data settings -> (end, digest) of the run that ended last
        records = {cell.folder: read_record(self.folder(cell)) for cell in cells}
        for cell in cells:
            ended, digest = records[cell.folder].ended, records[cell.folder].data_digest
            settings = json.dumps(cell.config.get("data"), sort_keys=True, default=str)
            if ended and digest:
                newest[settings] = max(newest.get(settings, ("", "")), (ended, digest))
        states = {}
        for cell in cells:
            settings = json.dumps(cell.config.get("data"), sort_keys=True, default=str)
            digest = newest.get(settings, ("", ""))[1]
            state = state_of(self.folder(cell), records[cell.folder], digest)
            if state.name in ("missing", "interrupted", "failed") and submitted and cell.folder in submitted:
                state = CellState(submitted[cell.folder])
            states[cell.folder] = state
        return states

    def set_aside(self, cell: Cell) -> Path:
        """Rename the directory of a stale run, so that it can be run anew; return its new name."""
        folder = self.folder(cell)
        with locked(folder) as mine:
            if mine is None:
                raise StudyError(f"{folder} is being run by another process")
            aside = folder.with_name(f"{folder.name}.stale-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
            folder.rename(aside)
        return aside


def state_of(folder: Path, record: Record, digest: str = "") -> CellState:
    """Derive the state of a run.

    Args:
        folder: of the run.
        record: of the run, as far as it is done.
        digest: of the data that a run of today would read, as far as it is known.
    """
    if is_held(folder):
        return CellState("running", progress(folder))
    if record.done and record.metrics is not None:
        if record.version and record.version != __version__:
            return CellState("stale", f"done by maskexp {record.version}, this is {__version__}")
        if digest and record.data_digest and record.data_digest != digest:
            return CellState("stale", "its data has changed since")
        return CellState("done")
    failure = read_json(folder / "failed.json")
    if failure is not None:
        code, attempts = _whole(failure.get("exit_code")), _whole(failure.get("attempts"))
        return CellState("failed", str(failure.get("reason", "")), code, attempts)
    if record.done:
        return CellState("interrupted", "half deleted: DONE is there, but no metrics.json that can be read")
    if (folder / "log.txt").exists() or (folder / "config.yaml").exists() or (folder / "checkpoints").exists():
        return CellState("interrupted")
    return CellState("missing")


def run_cell(
    folder: Path,
    command: Command,
    environment: Mapping[str, str] | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
    new_session: bool = True,
) -> Attempt:
    """Run the cell of a directory unless it is done or somebody else runs it, and write down a failure.

    The lock is inherited by the command: it is held until the last of this process and the command is gone, so that a
    launcher that is killed leaves no cell that a second one could start again.

    Args:
        folder: the cell's directory, with its ``cell.yaml``.
        command: what runs it; it has to leave DONE and metrics.json.
        environment: of the command; this process's if None.
        started: is handed the command's process.
        new_session: keep the terminal's Ctrl-C from the command.

    Raises:
        DiskFullError: if a failure cannot be written down.
        StudyError: if the directory cannot be locked.
    """
    with locked(folder) as lock:
        if lock is None:
            return Attempt("elsewhere", "another process runs it")
        if state_of_unlocked(folder).name == "done":
            return Attempt("done", "done already")
        failure_file = folder / "failed.json"
        attempts = _whole((read_json(failure_file) or {}).get("attempts"), 0) + 1
        failure_file.unlink(missing_ok=True)
        log = folder / "log.txt"
        try:
            with log.open("ab") as output:
                output.write(f"=== start {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}\n".encode())
                output.flush()
                process = subprocess.Popen(  # noqa: S603, a command of ours
                    list(command(folder)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if environment is None else dict(environment),
                    pass_fds=(lock,),
                    start_new_session=new_session,
                )
            if started is not None:
                started(process)
            code = process.wait()
        except OSError as error:
            if names_full_disk(error):
                raise DiskFullError(log) from error
            return _fail(failure_file, 127, attempts, log, f"it cannot be started: {error.strerror} ({error.filename})")
        code = 128 - code if code < 0 else code
        if code in STOPPED or code in REQUEUE:
            return Attempt("stopped", f"left with exit code {code}", code)
        record = read_record(folder)
        if code == 0 and record.done and record.metrics is not None:
            return Attempt("done")
        if code == 0:
            return _fail(failure_file, 1, attempts, log, "it ended without DONE and metrics.json")
        return _fail(failure_file, code, attempts, log, _complaint(log, code))


def fit_command(folder: Path) -> list[str]:
    """Return the command that trains the cell of a directory, or goes on with it."""
    return [
        *(sys.executable, "-m", "maskexp", "fit", "--config", str(folder / "cell.yaml")),
        *("--run_dir", str(folder), "--ckpt_path", "last", "--trainer.enable_progress_bar=false"),
    ]


def progress(folder: Path) -> str:
    """Return how far a running cell's log says it is, e.g. ``epoch 3``; empty if it does not say it."""
    logs = sorted((folder / "logs").glob("version_*/metrics.csv"), key=lambda file: file.stat().st_mtime)
    if not logs:
        return ""
    try:
        lines = logs[-1].read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # it is being written
        return ""
    if len(lines) < 2 or "epoch" not in (header := lines[0].split(",")):
        return ""
    cells = lines[-1].split(",")
    epoch = cells[header.index("epoch")] if len(cells) == len(header) else ""
    return f"epoch {int(epoch) + 1}" if epoch.isdigit() else ""


def _fail(file: Path, code: int, attempts: int, log: Path, reason: str) -> Attempt:
    content = {
        "exit_code": code,
        "reason": reason,
        "attempts": attempts,
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "log": str(log),
        "log_tail": _tail(log),
    }
    write_json(file, content)
    return Attempt("failed", reason, code)


def _complaint(log: Path, code: int) -> str:
    """Return the sentence that the command ended with."""
    said = [line for line in _tail(log) if line.startswith("maskexp: ")]
    if code > 128:
        return f"killed by signal {code - 128}" + (" (out of memory?)" if code == 137 else "")
    return said[-1].removeprefix("maskexp: ") if said else f"exit code {code}"


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        return file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]


def state_of_unlocked(folder: Path) -> CellState:
    """Return the state of a cell whose lock this process holds."""
    record = read_record(folder)
    return CellState("done") if record.done and record.metrics is not None else CellState("interrupted")


def _is_called(file: Path, name: str) -> bool:
    """Whether a study file has this name (still)."""
    line = rf"^study:\s*['\"]?{re.escape(name)}['\"]?\s*(#.*)?$"
    return re.search(line, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None


def _whole(value: Any, default: int = 1) -> int:
    return value if type(value) is int else default


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
