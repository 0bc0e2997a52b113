from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from maskexp.process import (
    Interruption,
    defer_interruption,
    exit_code,
    interruptible,
    keep_freed_memory,
    listen,
    stop_signal,
)


@pytest.mark.parametrize(
    ("number", "slurm", "code"),
    [
        (signal.SIGUSR1, False, 75),
        (signal.SIGUSR1, True, 75),
        (signal.SIGTERM, True, 75),
        (signal.SIGTERM, False, 143),
        (signal.SIGINT, True, 130),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, number: int, slurm: bool, code: int) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if slurm:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert exit_code(number) == code


def test_a_rank_that_another_of_our_processes_started_leaves_the_exit_code_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MASKEXP_LISTENER", str(os.getppid()))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with listen():
        assert exit_code(signal.SIGUSR1) == 0
    monkeypatch.setenv("MASKEXP_LISTENER", "1")  # torchrun or srun is the parent
    with listen():
        assert exit_code(signal.SIGUSR1) == 75


def test_requests_are_noted_until_the_command_may_be_interrupted() -> None:
    with listen():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop_signal() == signal.SIGUSR1
        with pytest.raises(Interruption):
            interruptible()
        with pytest.raises(Interruption):
            os.kill(os.getpid(), signal.SIGTERM)
        defer_interruption()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop_signal() == signal.SIGTERM, "the more urgent of two requests counts"


def test_a_second_interrupt_from_the_keyboard_does_not_wait() -> None:
    with listen():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interruption) as stopped:
            os.kill(os.getpid(), signal.SIGINT)
    assert stopped.value.code == 130
    assert "stopped by the keyboard" in stopped.value.sentence


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with listen():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert stop_signal() == 0


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def look() -> None:
        with listen():
            seen.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGUSR1)]


def catches(pid: int, number: int) -> bool:
    """Whether a process has installed a handler of its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc to see installed handlers")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_imports_does_not_kill(tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "maskexp", "fit", "--model", "ERM", f"--run_dir={tmp_path / 'run'}"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        deadline = time.monotonic() + 60
        while not (catches(process.pid, signal.SIGUSR1) and catches(process.pid, signal.SIGTERM)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        torch_is_there = "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert not torch_is_there, "the handlers have to be installed before torch is imported"
    assert process.returncode == code, err
    assert err.strip().endswith("start the same command again")
    assert not (tmp_path / "run").exists()


LEFT_OVER = """
import multiprocessing, sys, time
from maskexp.process import end_workers_at_exit, ignore_stop_signals

def finish():
    time.sleep(1)
    print("finished", flush=True)

def work(ready):
    ignore_stop_signals()
    ready.set()
    time.sleep(600)

if __name__ == "__main__":
    if sys.argv[1] == "ended":
        end_workers_at_exit()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    context.Process(target=work, args=(ready,), daemon=True).start()
    ready.wait()
    context.Process(target=finish).start()
    print("leaving", flush=True)
"""


def test_a_worker_that_is_left_over_does_not_keep_the_process_from_its_end() -> None:
    command = [sys.executable, "-c", LEFT_OVER]
    assert (
        subprocess.run([*command, "ended"], capture_output=True, text=True, timeout=60).stdout == "leaving\nfinished\n"
    )
    with subprocess.Popen([*command, "left"], stdout=subprocess.PIPE, text=True, start_new_session=True) as waiting:
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "leaving\n"
            with pytest.raises(subprocess.TimeoutExpired):  # what happens without it
                waiting.wait(timeout=4)
        finally:
            os.killpg(waiting.pid, signal.SIGKILL)


FAULTS = """
import resource, sys
from maskexp.process import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b"x" * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the choice")
def test_freed_memory_is_used_again_unless_the_user_chose_otherwise() -> None:
    faults = {}
    for name, how, more in (
        ("left", "left", {}),
        ("kept", "kept", {}),
        ("chosen", "kept", {"MALLOC_MMAP_MAX_": "65536"}),
    ):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "LD_PRELOAD"))}
        command = [sys.executable, "-c", FAULTS, how]
        faults[name] = int(subprocess.check_output(command, env=environment | more, text=True))
    assert faults["kept"] < faults["left"] / 10
    assert faults["chosen"] > faults["left"] / 2


def test_where_the_c_library_has_no_such_choice_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_freed_memory()
