"""Run the cells of a study as SLURM arrays: one cell a task, from a template that a user can replace.

SLURM is the engine; nothing here waits for it. What was submitted lies in ``DIR/slurm/<time>-<i>/``: the script, the
list of cells, the job's id. A cell's state is still derived from its own folder, so that a lost task costs nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from maskexp.files import atomic_write
from maskexp.studies.cells import Runs
from maskexp.studies.study import Cell
from maskexp.suggestions import did_you_mean

__all__ = ["TEMPLATE", "SlurmError", "Submission", "submit", "submitted"]

TEMPLATE = Path(__file__).with_name("cells.sbatch")
DEFAULT_ARRAY_SIZE = 1001
"""SLURM's own MaxArraySize, where scontrol does not say another."""


class SlurmError(OSError):
    """SLURM does not take what was submitted; the message is a sentence for the user."""


@dataclass(frozen=True)
class Submission:
    """One array of cells that ask for the same resources.

    Attributes:
        script: the sbatch file.
        folders: of the cells, in the order of the array.
        job: id that SLURM gave; None where the script was written and not submitted.
    """

    script: Path
    folders: tuple[str, ...]
    job: str | None


def submit(
    runs: Runs,
    cells: Sequence[Cell],
    study: str,
    *,
    options: Mapping[str, str] | None = None,
    container: str = "",
    template: Path = TEMPLATE,
    singleton: bool = False,
    at_once: int | None = None,
    send: bool = True,
) -> list[Submission]:
    """Write and submit arrays for ``cells``.

    Args:
        runs: where the cells run.
        cells: to run.
        study: name for the jobs.
        options: sbatch options without dashes, ``{"partition": "gpu", "time": "08:00:00"}``.
        container: program and arguments before Python, e.g. ``apptainer exec --nv image.sif``; it comes to stand
            between double quotes in a shell script.
        template: sbatch script with ``{{names}}``.
        singleton: submit each cell as a job of its own that SLURM runs at most once at a time by its name: a second
            belt where file locks do not reach other nodes.
        at_once: most tasks of an array at a time.
        send: hand the scripts to sbatch.

    Raises:
        SlurmError: if sbatch is missing or refuses.
    """
    text = template.read_text(encoding="utf-8")
    groups: dict[tuple[int, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.devices, []).append(cell)
    size = 1 if singleton else max_array_size()
    chunks = [
        (resources, group[i : i + size]) for resources, group in groups.items() for i in range(0, len(group), size)
    ]
    stamp = f"{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"
    submissions = []
    for number, ((nodes, tasks), chunk) in enumerate(chunks):
        folder = (runs.path / "slurm" / f"{stamp}-{number}").resolve()
        for cell in chunk:
            runs.prepare(cell)
        lines = [f"#SBATCH --{name}={value}" for name, value in (options or {}).items()]
        if singleton:
            lines.append("#SBATCH --dependency=singleton")
        filled = _filled(
            text,
            {
                "job_name": f"mx-{chunk[0].address}" if singleton else f"mx-{study}",
                "array": f"0-{len(chunk) - 1}" + (f"%{at_once}" if at_once else ""),
                "output": f'"{folder}/%A_%a.out"',
                "nodes": str(nodes),
                "tasks": str(tasks),
                "options": "\n".join(lines),
                "cells": shlex.quote(f"{folder}/cells.txt"),
                "python": shlex.quote(sys.executable),
                "runs": shlex.quote(str(runs.path.resolve())),
                "container": container,
            },
            template,
        )
        names = tuple(cell.folder for cell in chunk)
        _write(folder / "cells.txt", "".join(f"{name}\n" for name in names))
        _write(folder / "job.sbatch", filled)
        job = _sbatch(folder / "job.sbatch") if send else None
        if job is not None:
            _write(folder / "job_id", f"{job}\n")
        submissions.append(Submission(folder / "job.sbatch", names, job))
    return submissions


def submitted(runs: Runs) -> dict[str, Literal["queued", "running"]]:
    """Return what SLURM has of ``runs`` by folder; empty where there is no SLURM or nothing was submitted."""
    files = sorted((runs.path / "slurm").glob("*/job_id"))
    if not files:
        return {}
    listed = _ask("squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%F %K %t")
    tasks: dict[tuple[str, str], str] = {}
    for line in (listed or "").splitlines():
        job, task, state = line.split()
        tasks[job, task] = state
    found: dict[str, Literal["queued", "running"]] = {}
    for file in files:
        job = file.read_text(encoding="utf-8").strip()
        names = file.with_name("cells.txt").read_text(encoding="utf-8").split()
        for i, name in enumerate(names):
            if (job, str(i)) in tasks:
                found[name] = "queued" if tasks[job, str(i)] == "PD" else "running"
    return found


def max_array_size() -> int:
    """Return how many tasks an array of this cluster may have."""
    shown = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config") or "")
    return max(1, int(shown[1]) - 1) if shown else DEFAULT_ARRAY_SIZE - 1


def _filled(text: str, values: Mapping[str, str], template: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name not in values:
            raise SlurmError(f"{template} asks for {{{{{name}}}}}, which is not known; {did_you_mean(name, values)}")
        return values[name]

    placeholder = r"\{\{([^{}]*)\}\}"
    filled, used = re.sub(placeholder, value, text), [name.strip() for name in re.findall(placeholder, text)]
    for needed in ("array", "cells", "runs"):
        if needed not in used:
            raise SlurmError(f"{template} has to use {{{{{needed}}}}}; begin with a copy of {TEMPLATE}")
    return filled


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _sbatch(script: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["sbatch", "--parsable", str(script)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("SBATCH_")},
        )
    except FileNotFoundError:
        raise SlurmError("there is no sbatch here: run on a cluster's login node, or with --launcher local") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise SlurmError(f"sbatch refused {script}: {said}")
    return done.stdout.strip().partition(";")[0]


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):  # no SLURM here, or one that does not answer
        return None
    return done.stdout if done.returncode == 0 else None
