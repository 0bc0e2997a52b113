"""This process: which one of a job it is, whether it was asked to stop, and how it holds memory.

A signal that arrives while torch is imported or in the middle of a step must neither kill the process nor interrupt the
step. So the handlers are installed before anything heavy is imported, and they only note the request. Who runs batches
looks at :func:`stop_signal` after each of them; everywhere else, inside :func:`interruptible`, a request ends the
command at once.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing.util  # what it does at exit, wait for workers, is registered first and so done last
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any, ClassVar

__all__ = [
    "RESTART",
    "Interruption",
    "defer_interruption",
    "end_workers_at_exit",
    "exit_code",
    "first_process",
    "ignore_stop_signals",
    "interruptible",
    "keep_freed_memory",
    "listen",
    "stop_signal",
]

SIGNALS = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
"""Keyboard, the warning before a time limit, the request to end; the last of those received counts."""

RESTART = 75
"""Exit code for "start me again": ``EX_TEMPFAIL`` of sysexits.h, which batch scripts answer by ``scontrol requeue``."""

_LISTENER = "MASKEXP_LISTENER"
"""Tells processes that this one starts who their parent is."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of ``malloc.h``: how much free memory at the end of the heap is kept, how many blocks lie outside the heap."""


class _State:
    """What was asked of this process; one for each process, as its signal handlers are."""

    received: ClassVar[set[int]] = set()
    interruptible = False
    parent: int | None = None


class Interruption(SystemExit):
    """The command ends because it was asked to; ``code`` is its exit code.

    Args:
        number: of the signal.

    Attributes:
        number: of the signal.
        advice: how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(exit_code(number))
        self.number = number
        self.advice = "start the same command again"

    @property
    def sentence(self) -> str:
        """Who asked, and how to go on."""
        by = "the keyboard" if self.number == signal.SIGINT else signal.Signals(self.number).name
        return f"stopped by {by}; {self.advice}"


def exit_code(number: int) -> int:
    """Return the exit code of a command that a signal asked to stop.

    75 after SIGUSR1, and after SIGTERM in a SLURM job: to be started again; 130 after Ctrl-C; 143 after SIGTERM. A
    process that another of ours started returns 0: the first process speaks for all, and Lightning would kill it,
    while it may still be writing, if another had failed.
    """
    if _started_by_another():
        return 0
    if number == signal.SIGUSR1 or (number == signal.SIGTERM and "SLURM_JOB_ID" in os.environ):
        return RESTART
    return 128 + number


def stop_signal() -> int:
    """Return the number of the signal that asked this process to stop, 0 if none did."""
    return max(_State.received, key=[0, *SIGNALS].index, default=0)


@contextmanager
def listen() -> Iterator[None]:
    """Note requests to stop, until the end of the block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    parent = os.environ.get(_LISTENER)
    _State.received, _State.interruptible = set(), False
    _State.parent = int(parent) if parent and parent.isdecimal() else None
    os.environ[_LISTENER] = str(os.getpid())
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    try:
        yield
    finally:
        _State.received, _State.interruptible = set(), False
        for number, handler in before.items():
            signal.signal(number, handler)
        os.environ.pop(_LISTENER) if parent is None else os.environ.update({_LISTENER: parent})


def interruptible() -> None:
    """Let a request end the command at once from here on.

    Raises:
        Interruption: if there was a request already.
    """
    _State.interruptible = True
    if number := stop_signal():
        raise Interruption(number)


def defer_interruption() -> None:
    """From here on only note requests; who runs batches looks at :func:`stop_signal`."""
    _State.interruptible = False


def ignore_stop_signals(worker: int = 0) -> None:
    """Leave it to the process that loads data in workers to stop: SLURM and terminals signal all processes of a job.

    Args:
        worker: number of the worker, as PyTorch's ``worker_init_fn`` gets it.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@cache
def end_workers_at_exit() -> None:
    """Let no worker that ignores signals keep this process from its end.

    Python asks each daemonic worker that is left over, such as one behind an error, to leave, and waits until it has.
    Processes that are none are its user's, and are waited for as ever.
    """
    atexit.register(_end_workers)


def _end_workers() -> None:
    for worker in multiprocessing.active_children():
        if worker.daemon:
            worker.kill()


def keep_freed_memory() -> None:
    """Let tensors on the CPU take the memory of those before them, instead of pages that the kernel has to clear first.

    glibc gives every block over 32 MiB back to the system when it is freed, and each feature map of a batch is larger.
    Nothing is changed where the user chose an allocator or its settings, nor where the C library has no such choice.
    """
    chosen = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
    if sys.platform != "linux" or any(name in os.environ for name in chosen):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def first_process() -> bool:
    """Whether this is the process that the user started, or the first of a job."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))
    return all(rank == "0" for rank in ranks)


def _note(number: int, frame: FrameType | None) -> Any:
    again = number == signal.SIGINT and number in _State.received
    _State.received.add(number)
    if _State.interruptible or again:
        raise Interruption(number)


def _started_by_another() -> bool:
    """Whether another process of ours started this one as a further rank, as Lightning does without a launcher."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and _State.parent == os.getppid()
