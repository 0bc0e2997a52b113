"""The harness must fail for every way in which a rank can go wrong."""

from __future__ import annotations

import multiprocessing.util
import os
import time

import pytest
import torch
from torch import Tensor

from tests.distributed import RankError, run_ranks


def _sum_of_ranks(rank: int, world_size: int, offset: float) -> tuple[int, Tensor]:
    value = torch.tensor([rank + offset])
    torch.distributed.all_reduce(value)
    return world_size, value


def _hang(rank: int, world_size: int) -> None:
    if rank == 1:
        time.sleep(600)


def _leave_before_the_collective(rank: int, world_size: int) -> None:
    if rank == 0:
        torch.distributed.all_reduce(torch.ones(1))


def _exit_with(rank: int, world_size: int, code: int) -> None:
    if rank == 1:
        os._exit(code)


def _leave_by(rank: int, world_size: int, error: type[BaseException]) -> None:
    if rank == 1:
        raise error("planted")


def _unpicklable(rank: int, world_size: int) -> object:
    return lambda: None


def _exit_after_the_result(rank: int, world_size: int) -> None:
    if rank == 1:
        multiprocessing.util.Finalize(None, os._exit, args=(7,), exitpriority=0)  # runs when the process shuts down


def test_results_come_back_by_rank() -> None:
    assert run_ranks(_sum_of_ranks, 3, 0.5) == [(3, torch.tensor([4.5]))] * 3


def test_hang_fails_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(RankError, match=r"rank \[0, 1\] of 2 did not reach 'result'"):
        run_ranks(_hang, 2, timeout=1.0)
    assert time.monotonic() - started < 150


def test_missing_rank_in_a_collective_fails() -> None:
    with pytest.raises(RankError):
        run_ranks(_leave_before_the_collective, 2, timeout=2.0)


@pytest.mark.parametrize("code", [7, 0])
def test_hard_exit_fails(code: int) -> None:
    with pytest.raises(RankError, match=f"rank 1 died:(.|\n)*exit code {code}"):
        run_ranks(_exit_with, 2, code)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_exception_fails_with_its_traceback(error: type[BaseException]) -> None:
    with pytest.raises(RankError, match=f"rank 1 raised:(.|\n)*{error.__name__}: planted"):
        run_ranks(_leave_by, 2, error)


def test_result_that_cannot_travel_fails() -> None:
    with pytest.raises(RankError, match="raised"):
        run_ranks(_unpicklable, 2)


def test_death_after_the_result_fails() -> None:
    with pytest.raises(RankError, match=r"exit codes were \{'rank 1': 7\}"):
        run_ranks(_exit_after_the_result, 2)
