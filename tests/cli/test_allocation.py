"""What SLURM gave and what the trainer wants are compared before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from maskexp.cli.allocation import check_allocation
from maskexp.cli.errors import CommandError

STEP = {"SLURM_JOB_NAME": "mx", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("environ", "nodes", "devices"),
    [
        ({}, 1, "auto"),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "mx"}, 1, 1),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, 1, 1),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_NNODES": "1"}, 1, 2),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_NNODES": "1"}, 1, [0, 3]),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_NNODES": "1"}, 1, "auto"),
        (STEP | {"SLURM_NTASKS": "8", "SLURM_NNODES": "2"}, 2, "4"),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_NNODES": "4", "SLURM_STEP_NUM_NODES": "1"}, 1, 2),
    ],
)
def test_an_allocation_that_fits(environ: dict[str, str], nodes: int, devices: Any) -> None:
    check_allocation(nodes, devices, environ)


@pytest.mark.parametrize(
    ("environ", "nodes", "devices", "complaint"),
    [
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "mx"}, 1, 2, "put srun before it"),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_NNODES": "1"}, 1, 1, "give --trainer.devices 2"),
        (STEP | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1"}, 1, 4, "SLURM runs 1 task on each node"),
        (STEP | {"SLURM_NTASKS": "4", "SLURM_NNODES": "2"}, 1, 2, "give --trainer.num_nodes 2"),
        (STEP | {"SLURM_NTASKS": "3", "SLURM_NNODES": "2"}, 2, 2, "not the same number on each"),
    ],
)
def test_an_allocation_that_does_not_fit(environ: dict[str, str], nodes: int, devices: Any, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        check_allocation(nodes, devices, environ)
