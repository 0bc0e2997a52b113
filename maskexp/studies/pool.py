"""Run the cells of a study on this machine: several processes at a time, each with devices of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from maskexp.studies.cells import REQUEUE, Attempt, Command, fit_command, run_cell
from maskexp.studies.study import StudyError

__all__ = ["Pool", "gpu_slots"]

GRACE = 60.0
"""Seconds that a cell has to write its checkpoint after SIGTERM before it is killed."""

Report = Callable[[Path, str, Attempt | None], None]
"""Is told ``started`` and how each cell ended, from the thread that ran it."""


@dataclass
class Pool:
    """Runs cells in child processes; a failing cell does not stop the others.

    Args:
        jobs: cells at a time.
        command: what runs a cell.
        slots: ``CUDA_VISIBLE_DEVICES`` of each job; all jobs see everything if empty.
        grace: seconds between asking a cell to stop and killing it.
    """

    jobs: int = 1
    command: Command = fit_command
    slots: Sequence[str] = ()
    grace: float = GRACE
    attempts: dict[str, Attempt] = field(default_factory=dict, init=False)
    stopped_by: int | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    def run(
        self, folders: Sequence[Path], report: Report, tick: Callable[[], None] = lambda: None
    ) -> dict[str, Attempt]:
        """Run the cells in ``folders`` and return what came of each that was tried, by folder name.

        Ctrl-C, SIGTERM and SIGHUP ask all running cells to stop, wait for them and start no others; a second Ctrl-C
        kills them. ``stopped_by`` holds the signal afterwards.

        Args:
            folders: prepared directories of cells.
            report: is told what happens.
            tick: is called a few times a second.

        Raises:
            DiskFullError: if the disk is full.
        """
        self._waiting = deque(folders)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = threading.Lock()
        self._asked_again = False
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        for number in before:
            signal.signal(number, self._ask_to_stop)
        workers = [threading.Thread(target=self._work, args=(i, report)) for i in range(min(self.jobs, len(folders)))]
        try:
            for worker in workers:
                worker.start()
            deadline = None
            while any(worker.is_alive() for worker in workers):
                tick()
                time.sleep(0.05)
                if self.stopped_by is not None:
                    deadline = deadline or time.monotonic() + self.grace
                    if self._asked_again or time.monotonic() > deadline:
                        self._signal_all(signal.SIGKILL)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.error is not None:
            raise self.error
        return self.attempts

    def _work(self, slot: int, report: Report) -> None:
        environment = child_environment(self.jobs, self.slots[slot % len(self.slots)] if self.slots else None)
        while True:
            with self._guard:
                if self.stopped_by is not None or self.error is not None or not self._waiting:
                    return
                folder = self._waiting.popleft()
            report(folder, "started", None)
            try:
                attempt = run_cell(folder, self.command, environment, lambda p, f=folder: self._register(f, p))  # type: ignore[misc]
            except StudyError as error:
                attempt = Attempt("failed", str(error), 1)
            except Exception as error:  # is raised again by run, in the thread that the user sees
                self.error = error
                return
            finally:
                with self._guard:
                    self._running.pop(folder.name, None)
            self.attempts[folder.name] = attempt
            report(folder, attempt.result, attempt)
            if attempt.exit_code in REQUEUE and self.stopped_by is None:
                with self._guard:
                    self._waiting.append(folder)

    def _register(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        with self._guard:
            self._running[folder.name] = process
            stop = self.stopped_by is not None
        if stop:
            _signal_group(process, signal.SIGTERM)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        # No lock here: the main thread may hold it. Threads only add to and remove from the dictionary.
        self._asked_again = self.stopped_by is not None
        self.stopped_by = number
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for process in list(self._running.values()):
            _signal_group(process, number)


def child_environment(jobs: int, devices: str | None) -> dict[str, str]:
    """Return the environment of a cell in the pool.

    SLURM's variables are removed: inside an allocation Lightning would take the cell for a task of the job.

    Args:
        jobs: cells at a time, which share the processors.
        devices: ``CUDA_VISIBLE_DEVICES``; None leaves it as it is.
    """
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM_", "PMI", "MASKEXP_RUN", "MASKEXP_LISTENER"))
    }
    threads = max(1, len(os.sched_getaffinity(0)) // max(jobs, 1)) if hasattr(os, "sched_getaffinity") else 1
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    if devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = devices
    return environment


def gpu_slots(devices_each: int, environ: Mapping[str, str] | None = None) -> list[str]:
    """Divide this machine's GPUs among jobs; empty where there is none.

    Args:
        devices_each: GPUs that a cell asks for.
        environ: the environment; this process's if None.
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    else:
        names = [str(i) for i in range(_count_gpus())]
    whole = len(names) // devices_each * devices_each
    return [",".join(names[i : i + devices_each]) for i in range(0, whole, devices_each)]


def _count_gpus() -> int:
    try:
        listed: Any = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):  # no NVIDIA driver here
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:  # it has ended by itself
        return
