"""``maskexp matrix``: run what is missing of a study, here or on SLURM, and say how far it is; without torch."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from maskexp.cli.config import Configuration, compose
from maskexp.cli.errors import CommandError
from maskexp.studies import (
    Attempt,
    Cell,
    CellState,
    Pool,
    Runs,
    Study,
    StudyError,
    gpu_slots,
    read_study,
    run_cell,
    submit,
)
from maskexp.studies.cells import BAD_CONFIGURATION, STATES, fit_command, progress
from maskexp.studies.records import read_record
from maskexp.studies.slurm import TEMPLATE, submitted
from maskexp.studies.study_file import is_study
from maskexp.tables import print_table

__all__ = ["default_runs", "is_study", "open_study", "row_configuration", "run"]

SLURM_OPTIONS = {
    "partition": "partition of the cluster",
    "account": "account that pays",
    "time": "longest time of a task, e.g. 08:00:00",
    "gpus-per-node": "GPUs of a task",
    "cpus-per-task": "processors of each process",
    "mem": "memory of a node, e.g. 64G",
    "constraint": "features that a node has to have",
    "qos": "quality of service",
}


def run(verb: str, args: Sequence[str]) -> int:
    """Do what ``matrix`` was asked for; return 0, 1 if a cell failed, or 128 + the signal that stopped it."""
    options = _parser(verb).parse_args(args)
    try:
        return _run_one(options) if options.cell is not None else _run_study(verb, options)
    except StudyError as error:
        raise CommandError(str(error)) from error


def _run_study(verb: str, options: argparse.Namespace) -> int:
    if options.file is None:
        raise CommandError(f"maskexp {verb} needs a study: maskexp {verb} FILE --runs DIR")
    _check_options(options)
    if options.jobs is not None and options.jobs < 1:
        raise CommandError(f"--jobs is {options.jobs}; it must be at least 1")
    study = open_study(options.file)
    runs = Runs(options.runs or default_runs(study))
    states = runs.states(study.cells, submitted(runs))
    if options.status:
        return _print_status(study, runs, states, options.json)
    pending, notes = _pending(study, states, options)
    if options.dry_run:
        return _print_plan(study, runs, pending, notes, options)
    _check(pending, options)
    for note in notes:
        _say(note)
    runs.claim(study)
    if options.rerun_stale:
        for cell in pending:
            if states[cell.folder].name == "stale":
                _say(f"{cell.folder}: set aside as {runs.set_aside(cell).name}")
    return (_submit if options.launcher == "slurm" else _run_here)(study, runs, pending, states, options)


def open_study(file: str) -> Study:
    """Read a study.

    Raises:
        CommandError: if it cannot be read.
    """
    try:
        return read_study(file, compose)
    except StudyError as error:
        raise CommandError(str(error)) from error


def default_runs(study: Study) -> Path:
    """Return where the runs of a study go if nothing else is said."""
    return Path("runs") / study.name


def row_configuration(files: Sequence[str], name: str) -> Configuration:
    """Return the configuration of one row of a study, with its first seed, for ``maskexp fit --row NAME``.

    Raises:
        CommandError: if there is not exactly one file, or it has no such row.
    """
    if len(files) != 1:
        raise CommandError("--row takes its row from one study: give exactly one --config STUDY.yaml with it")
    study = open_study(files[0])
    try:
        row = study.row(name)
    except StudyError as error:
        raise CommandError(str(error)) from error
    configuration = Configuration()
    configuration.merge(row.cells[0].config, f"the row {name!r} of {files[0]}")
    return configuration


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Run what is missing of a study: rows × seeds, each once, here or on SLURM.",
        epilog="A cell that was interrupted goes on from its last checkpoint. Ctrl-C leaves a folder that resumes.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="a study, e.g. experiments/quickstart_study.yaml")
    parser.add_argument("--runs", metavar="DIR", help="where the runs go (default: runs/NAME)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="list what would run, with an estimate of its time")
    what.add_argument("--status", action="store_true", help="list all cells and their states; runs nothing")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    parser.add_argument(
        "--retry-failed", action="store_true", help="run failed cells again, but for bad configurations"
    )
    parser.add_argument("--rerun-stale", action="store_true", help="set stale runs aside and run them anew")
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local", help="(default: local)")
    parser.add_argument("--jobs", metavar="N", type=int, help="cells at a time (default: one a GPU, or one)")
    slurm = parser.add_argument_group("SLURM")
    for name, text in SLURM_OPTIONS.items():
        slurm.add_argument(f"--{name}", metavar="X", help=text)
    slurm.add_argument("--container", metavar="COMMAND", default="", help="before Python, e.g. 'apptainer exec x.sif'")
    slurm.add_argument("--template", metavar="FILE", type=Path, default=TEMPLATE, help="your own sbatch template")
    slurm.add_argument("--singleton", action="store_true", help="a job for each cell, which SLURM runs once at a time")
    parser.add_argument("--cell", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--through", metavar="COMMAND", default="", help=argparse.SUPPRESS)
    return parser


def _pending(
    study: Study, states: Mapping[str, CellState], options: argparse.Namespace
) -> tuple[list[Cell], list[str]]:
    """Return the cells to run, and what has to be said about the others."""
    pending, left = [], Counter[str]()
    seen: set[str] = set()
    for cell in study.cells:
        state = states[cell.folder]
        retried = state.name == "failed" and options.retry_failed and state.exit_code != BAD_CONFIGURATION
        stale = state.name == "stale" and options.rerun_stale
        if (state.name in ("missing", "interrupted") or retried or stale) and cell.folder not in seen:
            pending.append(cell)
        elif state.name == "failed":
            left["bad" if state.exit_code == BAD_CONFIGURATION else "failed"] += 1
        else:
            left[state.name] += 1
        seen.add(cell.folder)
    notes = []
    if left["failed"]:
        notes.append(f"{left['failed']} failed before and are left; --retry-failed runs them again")
    if left["bad"]:
        notes.append(
            f"{left['bad']} failed because of their configuration, which trying again does not change: mend the study "
            "or delete their folders"
        )
    if left["stale"]:
        notes.append(f"{left['stale']} are stale (see --status); --rerun-stale sets them aside and runs them anew")
    if elsewhere := left["running"] + left["queued"]:
        notes.append(f"{elsewhere} are run by another launcher")
    return pending, notes


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that would do nothing."""
    if options.json and not options.status:
        raise CommandError("--json is how --status is printed: add --status")
    if options.launcher != "slurm":
        given = [name for name in SLURM_OPTIONS if getattr(options, name.replace("-", "_"))]
        given += [name for name in ("container", "singleton") if getattr(options, name)]
        given += ["template"] if options.template != TEMPLATE else []
        if given:
            raise CommandError(f"--{given[0]} is for SLURM: add --launcher slurm")
    elif options.singleton and options.jobs is not None:
        raise CommandError(
            "--jobs bounds the tasks of an array, and --singleton makes a job of each cell; leave one out"
        )


def _check(pending: Sequence[Cell], options: argparse.Namespace) -> None:
    """Refuse what cannot be launched, before anything is written."""
    if options.launcher == "slurm":
        if not options.template.is_file():
            raise CommandError(f"there is no template {str(options.template)!r}")
        return
    for cell in pending:
        if cell.devices[0] > 1:
            raise CommandError(f"{cell.row!r} asks for {cell.devices[0]} nodes; use --launcher slurm")


# --- running ---------------------------------------------------------------------------------------------------------


def _run_here(
    study: Study, runs: Runs, pending: Sequence[Cell], states: Mapping[str, CellState], options: argparse.Namespace
) -> int:
    most = max((cell.devices[1] for cell in pending), default=1)
    slots = gpu_slots(most)
    pool = Pool(options.jobs or max(1, len(slots)), command=fit_command, slots=slots)
    folders = [runs.prepare(cell) for cell in pending]
    board = _Board(study, runs, pending, pool, sum(state.name == "done" for state in states.values()))
    with board:
        attempts = pool.run(folders, board.report, board.refresh)
    ended = Counter(attempt.result for attempt in attempts.values())
    if pool.stopped_by is not None:
        left = len(pending) - ended["done"] - ended["failed"]
        _say(f"stopped with {left} of {len(study.cells)} left; go on with: {_command(study, runs)}")
        return 128 + pool.stopped_by
    final = runs.states(study.cells)
    failed = [cell for cell in study.cells if final[cell.folder].name == "failed"]
    for cell in failed:
        log = runs.folder(cell) / "log.txt"
        _say(f"{cell.row}, seed {cell.seed}: failed ({final[cell.folder].detail}); log: {log}")
    counts = Counter(state.name for state in final.values())
    summary = ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    _say(f"{summary}; see them with: maskexp table {study.file} --runs {runs.path}")
    return 1 if failed or ended["failed"] else 0


def _submit(
    study: Study, runs: Runs, pending: Sequence[Cell], states: Mapping[str, CellState], options: argparse.Namespace
) -> int:
    if not pending:
        _say("nothing is missing")
        return 0
    given = {name: str(value) for name in SLURM_OPTIONS if (value := getattr(options, name.replace("-", "_")))}
    sent = submit(
        runs,
        pending,
        study.name,
        options=given,
        container=options.container,
        template=options.template,
        singleton=options.singleton,
        at_once=options.jobs,
    )
    for one in sent:
        _say(f"job {one.job}: {len(one.folders)} cells, {one.script}")
    _say(f"look with: {_command(study, runs)} --status")
    return 0


def _run_one(options: argparse.Namespace) -> int:
    """Run one prepared cell in this very place, as a task of a SLURM array does; return its exit code."""
    if options.runs is None:
        raise CommandError("--cell needs --runs DIR")
    folder = Path(options.runs) / options.cell
    if not (folder / "cell.yaml").is_file():
        raise CommandError(f"{folder} is no prepared cell: there is no cell.yaml in it")
    through = shlex.split(options.through)
    attempt = run_cell(folder, lambda path: [*through, *fit_command(path)], new_session=False)
    _say(f"{options.cell}: {attempt.result}" + (f" ({attempt.detail})" if attempt.detail else ""))
    return attempt.exit_code


class _Board:
    """What the terminal shows while cells run: a live table, or a line for each event where it is no terminal."""

    def __init__(self, study: Study, runs: Runs, pending: Sequence[Cell], pool: Pool, done: int) -> None:
        self.study, self.runs, self.pool = study, runs, pool
        self.total, self.done, self.failed = len({cell.folder for cell in study.cells}), done, 0
        self.cells = {cell.folder: cell for cell in pending}
        self.left = dict(self.cells)
        self.durations = _durations(study, runs)
        self.since: dict[str, float] = {}
        self.began, self.drawn = time.monotonic(), 0.0
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None

    def __enter__(self) -> _Board:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    def report(self, folder: Path, event: str, attempt: Attempt | None) -> None:
        cell = self.cells[folder.name]
        what = f"{cell.row}, seed {cell.seed}"
        if attempt is None:
            self.since[folder.name] = time.monotonic()
            if self.live is None:
                self._line(f"{what}: started")
            return
        took = time.monotonic() - self.since.pop(folder.name)
        if event == "done":
            self.done += 1
            self.durations.setdefault(cell.row, []).append(took)
        elif event == "failed":
            self.failed += 1
        if event != "stopped":
            self.left.pop(folder.name, None)
        detail = f" ({attempt.detail})" if attempt.detail else ""
        self._line(f"{what}: {event}{detail} after {_duration(took)}; {self.done} of {self.total} done{self._rest()}")

    def refresh(self) -> None:
        if self.live is None or time.monotonic() - self.drawn < 0.5:
            return
        self.drawn = time.monotonic()
        table = Table(
            title=escape(f"{self.study.title}: {self.done} of {self.total} done, {self.failed} failed{self._rest()}")
        )
        for heading in ("row", "seed", "running for", "how far"):
            table.add_column(heading)
        for name, since in sorted(self.since.items()):
            cell = self.cells[name]
            took = _duration(time.monotonic() - since)
            table.add_row(escape(cell.row), str(cell.seed), took, progress(self.runs.path / name))
        self.live.update(table, refresh=True)

    def _rest(self) -> str:
        seconds = _estimate(self.durations, list(self.left.values()))
        return "" if seconds is None or not self.left else f", about {_duration(seconds / self.pool.jobs)} to go"

    def _line(self, text: str) -> None:
        self.console.print(f"maskexp: {text}", markup=False, highlight=False, soft_wrap=True)


# --- showing ---------------------------------------------------------------------------------------------------------


def _print_status(study: Study, runs: Runs, states: Mapping[str, CellState], as_json: bool) -> int:
    counts = Counter(states[cell.folder].name for cell in study.cells)
    if as_json:
        cells = [
            {
                "row": cell.row,
                "seed": cell.seed,
                "state": states[cell.folder].name,
                "detail": states[cell.folder].detail,
                "exit_code": states[cell.folder].exit_code,
                "folder": str(runs.folder(cell)),
            }
            for cell in study.cells
        ]
        content = {"study": study.name, "runs": str(runs.path), "counts": dict(counts), "cells": cells}
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return 0
    table = Table(title=escape(f"{study.title} in {runs.path}"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("row", "seed", "state", "", "folder"):
        table.add_column(heading, no_wrap=True)
    for cell in study.cells:
        state = states[cell.folder]
        table.add_row(escape(cell.row), str(cell.seed), state.name, escape(state.detail), escape(cell.folder))
    console = Console(soft_wrap=True)
    print_table(table, console)
    console.print(", ".join(f"{counts[name]} {name}" for name in STATES if counts[name]), highlight=False)
    return 0


def _print_plan(
    study: Study, runs: Runs, pending: Sequence[Cell], notes: Sequence[str], options: argparse.Namespace
) -> int:
    for cell in pending:
        sys.stdout.write(f"{cell.row}, seed {cell.seed}: {runs.folder(cell)}\n")
    for note in notes:
        sys.stdout.write(f"{note}\n")
    jobs = options.jobs or max(1, len(gpu_slots(1)))
    durations = _durations(study, runs)
    seconds, known = _estimate(durations, pending), sum(map(len, durations.values()))
    if seconds is None:
        time_text = "how long is not known: no run of this study has ended yet"
    else:
        time_text = f"about {_duration(seconds / jobs)} with {jobs} at a time, judged by {known} of its runs that ended"
    sys.stdout.write(
        f"{len(pending)} of {len(study.cells)} cells would run" + (f"; {time_text}\n" if pending else "\n")
    )
    return 0


def _durations(study: Study, runs: Runs) -> dict[str, list[float]]:
    """Return the seconds that the uninterrupted runs of each row took."""
    rows: dict[str, list[float]] = {}
    for cell in study.cells:
        seconds = read_record(runs.folder(cell)).seconds
        if seconds is not None:
            rows.setdefault(cell.row, []).append(seconds)
    return rows


def _estimate(durations: Mapping[str, Sequence[float]], pending: Sequence[Cell]) -> float | None:
    """Return the seconds that cells will take one after another: as their rows did, or as the usual row."""
    medians = {row: statistics.median(found) for row, found in durations.items()}
    if not medians:
        return None
    usual = statistics.median(medians.values())
    return sum(medians.get(cell.row, usual) for cell in pending)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _command(study: Study, runs: Runs) -> str:
    return shlex.join(["maskexp", "matrix", str(study.file), "--runs", str(runs.path)])


def _say(text: str) -> None:
    sys.stderr.write(f"maskexp: {text}\n")
