"""``maskexp sweep``: a wandb sweep file without wandb's server, through Optuna; without torch."""

from __future__ import annotations

import argparse
import importlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskexp.cli.errors import CommandError
from maskexp.process import interruptible
from maskexp.studies.pool import child_environment
from maskexp.studies.sweep import Choice, Sweep, SweepError, read_sweep
from maskexp.tables import print_table

__all__ = ["run"]


def run(verb: str, args: Sequence[str]) -> int:
    """Search, and return 0, or 1 if no trial has ended."""
    interruptible()
    options = _parser(verb).parse_args(args)
    try:
        sweep = read_sweep(options.file)
        trials = _count(sweep, options.trials)
    except SweepError as error:
        raise CommandError(str(error)) from error
    folder = Path(options.runs or Path("runs") / sweep.file.stem)
    try:
        search_module: Any = importlib.import_module("maskexp.studies.search")
    except ModuleNotFoundError as error:
        raise CommandError("maskexp sweep needs Optuna: pip install 'maskexp[sweep]'") from error
    _check(sweep)
    for note in sweep.notes:
        _say(note)
    try:
        search = search_module.Search(sweep, folder, trials, options.seed, _say)
    except SweepError as error:
        raise CommandError(str(error)) from error
    search.run()
    if elsewhere := search.running_elsewhere():
        _say(f"other processes still run {elsewhere} of the trials in {folder}; the last one reports")
        return 0
    return _report(search)


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        allow_abbrev=False,
        description="Run a wandb sweep file here, without wandb's server. Started again, it goes on; started several "
        "times at once on one folder, the processes share the trials.",
    )
    parser.add_argument("file", help="a file that `wandb sweep` takes too, e.g. experiments/sweeps/aim.yaml")
    parser.add_argument("--runs", help="folder of the trials (default: runs/<name of the file>)")
    parser.add_argument("--trials", type=int, help="how many (default: run_cap of the file; all of a grid)")
    parser.add_argument("--seed", type=int, default=0, help="of what is proposed (default: 0)")
    return parser


def _count(sweep: Sweep, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise SweepError(f"--trials is {asked}; it must be at least 1")
    if sweep.method == "grid":
        size = sum(1 for _ in sweep.grid())
        return min(size, asked or sweep.run_cap or size)
    count = asked or sweep.run_cap
    if count is None:
        raise SweepError(f"{sweep.file}: {sweep.method} never ends by itself; give run_cap in the file, or --trials")
    return count


def _check(sweep: Sweep) -> None:
    """Let the command compose its configuration once, before the first trial: an unknown key shows now.

    Raises:
        CommandError: with what the command says.
    """
    values = {key: d.values[0] if isinstance(d, Choice) else d.low for key, d in sweep.space.items()}
    if sweep.method == "grid":
        values = next(islice(sweep.grid(), 1))
    command = [*sweep.argv(values), "--print_config"]
    done = subprocess.run(  # noqa: S603, the command of the user's own file
        command, capture_output=True, text=True, check=False, env=child_environment(1, None)
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("maskexp: ")]
        reason = said[-1].removeprefix("maskexp: ") if said else done.stderr.strip().rpartition("\n")[2]
        raise CommandError(f"{sweep.file}: no trial can start: {reason}")


def _report(search: Any) -> int:
    header, *rows = search.table()
    table = Table()
    for heading in header:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(soft_wrap=True)
    print_table(table, console)
    for path in search.write_report():
        _say(f"wrote {path}")
    best = search.best()
    if best is None:
        return 0 if search.sweep.metric is None else 1
    command = ["maskexp", *search.command(best)[3:]]
    console.print(f"best trial  {best.number}: {search.sweep.metric} = {best.value:.4f}")
    console.print(f"its command {escape(shlex.join(command))}", highlight=False)
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"maskexp: {text}\n")
