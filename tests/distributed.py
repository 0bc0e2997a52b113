"""Run a function on several gloo ranks and fail unless every rank comes back with a result.

A test of distributed code is worth something only if it cannot pass by accident: a rank that hangs, that dies without
a traceback, or that leaves without an answer makes :func:`run_ranks` raise, and takes the other ranks with it.
Ranks are forked from a server that has imported torch once, so that the second and later calls start in a moment.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["RankError", "run_ranks"]

PRELOADED = ["torch.distributed", "torchmetrics"]
STARTUP_TIMEOUT = 180.0  # importing torch on a busy machine; only the first call needs it


class RankError(AssertionError):
    """At least one rank hung, died, raised, or left without a result."""


def run_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 60.0) -> list[Any]:
    """Call ``function(rank, world_size, *args)`` on ``world_size`` gloo processes and return the results by rank.

    The process group is up before the call and torn down after a barrier, so ``torch.distributed`` just works inside.

    Args:
        function: picklable, that is, defined at the top of a module.
        world_size: number of processes.
        *args: picklable arguments, the same for every rank.
        timeout: seconds from the moment at which all ranks have joined; start-up is not counted.

    Raises:
        RankError: if any rank hangs, crashes, raises or returns nothing; the message names the ranks and says why.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        processes: list[BaseProcess] = []
        pipes: list[Connection] = []
        for rank in range(world_size):
            receiver, sender = context.Pipe(duplex=False)
            target = (sender, str(Path(folder, "rendezvous")), rank, world_size, timeout, function, args)
            process: BaseProcess = context.Process(target=_rank_main, args=target, name=f"rank {rank}", daemon=True)
            process.start()
            sender.close()  # the rank holds the only other copy: its death is the end of the file
            processes.append(process)
            pipes.append(receiver)
        try:
            _collect(processes, pipes, "ready", time.monotonic() + STARTUP_TIMEOUT)
            results = _collect(processes, pipes, "result", time.monotonic() + timeout)
            for process in processes:
                process.join(timeout=10.0)
            codes = {process.name: process.exitcode for process in processes if process.exitcode != 0}
            if codes:
                raise RankError(f"every rank returned a result, but the exit codes were {codes}")
            return results
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
                process.join()


def _collect(processes: list[BaseProcess], pipes: list[Connection], expected: str, deadline: float) -> list[Any]:
    """Receive one ``expected`` message from every rank before ``deadline``; anything else is a :class:`RankError`."""
    answers: dict[int, Any] = {}
    while len(answers) < len(pipes):
        waiting = {pipe: rank for rank, pipe in enumerate(pipes) if rank not in answers}
        ready = wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankError(
                f"rank {sorted(waiting.values())} of {len(pipes)} did not reach '{expected}' in time (hang)"
            )
        failures = []
        for pipe in ready:
            rank = waiting[pipe]  # type: ignore[index]
            kind, value = _receive(processes[rank], pipes[rank])
            if kind == expected:
                answers[rank] = value
            else:
                failures.append(f"rank {rank} {kind}:\n{value}")
        if failures:
            raise RankError("\n".join(failures))
    return [answers[rank] for rank in range(len(pipes))]


def _receive(process: BaseProcess, pipe: Connection) -> tuple[str, Any]:
    try:
        return pickle.loads(pipe.recv_bytes())  # type: ignore[no-any-return]  # noqa: S301, our own child wrote it
    except EOFError:
        process.join(timeout=10.0)
        return "died", f"it left without a result and without an exception, with exit code {process.exitcode}"


def _rank_main(
    pipe: Connection,
    rendezvous: str,
    rank: int,
    world_size: int,
    timeout: float,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout),
        )
        # Tensors travel as plain bytes: torch's shared-memory pickling would need this process to outlive the result.
        pipe.send_bytes(pickle.dumps(("ready", None)))
        result = pickle.dumps(("result", function(rank, world_size, *args)))
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    except BaseException:  # SystemExit and KeyboardInterrupt are failures of a rank, too
        result = pickle.dumps(("raised", traceback.format_exc()))
    pipe.send_bytes(result)
