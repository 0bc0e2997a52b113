"""A real SLURM of one node for `make test-slurm`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WANTED = "MASKEXP_TEST_SLURM"


@dataclass(frozen=True)
class Cluster:
    """The cluster, through its own commands."""

    def ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def state(self, task: str) -> str:
        """Return the state of ``<job>_<index>``, e.g. PENDING, as ``squeue`` shows it; ended jobs stay visible."""
        return self.ask("squeue", "--noheader", "--states=all", "--array", "--jobs", task, "--format=%T")

    def signal(self, task: str, name: str = "USR1") -> None:
        """Warn the steps of a task, as SLURM does before the time is up."""
        subprocess.run(["scancel", f"--signal={name}", task], check=True)

    def await_step(self, task: str) -> None:
        """Wait until ``srun`` has started its tasks."""
        self.wait(lambda: any(f"{task}.0" in line for line in self.ask("squeue", "--steps", "-h", "-o", "%i").split()))

    def end(self, task: str, requeues: int = 0, seconds: float = 900) -> str:
        """Wait until a task has ended after so many requeues, which start at once rather than two minutes later."""
        job = self.ask("squeue", "--noheader", "--states=all", "--array", "--jobs", task, "--format=%A")
        for _ in range(requeues):
            self.wait(
                lambda: self.ask("squeue", "-h", "--array", "--jobs", task, "--format=%r") == "BeginTime", seconds
            )
            time.sleep(2)  # the node has to be rid of the old task
            self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
            self.wait(lambda: self.state(task) != "PENDING")
        self.wait(lambda: self.state(task) in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"), seconds)
        return self.state(task)

    @staticmethod
    def wait(ready: Callable[[], bool], seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not os.environ.get(WANTED):
        pytest.skip("starts a SLURM on this machine: run make test-slurm")
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        up = subprocess.run([HERE / "up.sh", folder], capture_output=True, text=True, check=False)
        if up.returncode == 77:
            pytest.skip(f"no SLURM here: {up.stderr.strip()}")
        assert up.returncode == 0, up.stderr
        patch.setenv("SLURM_CONF", up.stdout.strip().splitlines()[-1])
        patch.setenv("OMP_NUM_THREADS", "1")
        yield Cluster()
        subprocess.run([HERE / "down.sh", folder], check=True)
