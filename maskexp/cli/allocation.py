"""Does a training ask for the devices that SLURM gave it?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from maskexp.cli.errors import CommandError

__all__ = ["check_allocation"]

INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which Lightning, too, takes a program for one that was started by hand."""


def check_allocation(num_nodes: Any, devices: Any, environ: Mapping[str, str] | None = None) -> None:
    """Refuse, before anything is loaded or written, what would hang or fail under SLURM.

    Outside a SLURM job, and in an interactive shell inside one, nothing is checked.

    Args:
        num_nodes: the setting ``trainer.num_nodes``.
        devices: the setting ``trainer.devices``; only a number or a list says how many are wanted.
        environ: the environment; this process's if None.

    Raises:
        CommandError: if ``srun`` was forgotten, or nodes and devices differ from the allocation.
    """
    given = os.environ if environ is None else environ
    if "SLURM_NTASKS" not in given or given.get("SLURM_JOB_NAME") in INTERACTIVE:
        return
    tasks = int(given["SLURM_NTASKS"])
    if "SLURM_STEP_ID" not in given:
        if tasks > 1:
            raise CommandError(
                f"this job has {tasks} tasks, but maskexp was started once: put srun before it (srun maskexp fit …), "
                "or ask SLURM for one task"
            )
        return
    nodes = int(given.get("SLURM_STEP_NUM_NODES", given.get("SLURM_NNODES", "1")))
    per_node = tasks // nodes if tasks % nodes == 0 else None
    wanted = len(devices) if isinstance(devices, (list, tuple)) else devices
    if isinstance(wanted, str) and wanted.isdigit():
        wanted = int(wanted)
    if int(num_nodes) != nodes:
        raise CommandError(
            f"trainer.num_nodes is {num_nodes}, but SLURM runs this step on {nodes}; give --trainer.num_nodes {nodes}, "
            f"or srun --nodes={num_nodes}"
        )
    if per_node is None:
        raise CommandError(
            f"SLURM runs {tasks} tasks on {nodes} nodes, which is not the same number on each; give srun "
            "--nodes=N --ntasks-per-node=G instead of --ntasks"
        )
    if type(wanted) is int and wanted > 0 and wanted != per_node:
        raise CommandError(
            f"trainer.devices is {wanted}, but SLURM runs {per_node} task{'s'[: per_node > 1]} on each node; give "
            f"--trainer.devices {per_node}, or srun --ntasks-per-node={wanted}"
        )
