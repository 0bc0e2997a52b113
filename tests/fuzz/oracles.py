"""What must not follow from any input: a raw message, an exception's name, a long wait, a file elsewhere."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskexp.cli.errors import one_sentence

__all__ = ["Outcome", "judged"]

SLOWEST = 10.0
"""Seconds of processor time; the wall may be somebody else's."""
HANGING = 60
"""Seconds after which a case is stopped."""

RAW = (
    *("run again with --debug", "Traceback", "[Errno", "<class '", "object at 0x", "NoneType", "invalid literal for"),
    *("not enough values to unpack", "too many values to unpack", "list index out of range", "string indices must be"),
    *(
        "unhashable type",
        "has no attribute",
        "unexpected keyword argument",
        "positional argument",
        "codec can't decode",
    ),
    *(
        "embedded null",
        "surrogates not allowed",
        "not supported between instances",
        "cannot convert float",
        "<unicode string>",
    ),
    *(
        "enforce fail",
        "Expected all tensors",
        "size mismatch for",
        "Error(s) in loading",
        "must be str, bytes",
        "<_io.",
    ),
    *("out of bounds for", "division by zero", "maximum recursion", "int too large", "PytorchStreamReader", "inputs['"),
)
"""Parts of messages that were written for programmers."""
NAME = re.compile(r"\b[A-Za-z.]*[a-z](Error|Exception|Warning)\b")


@dataclass(frozen=True)
class Outcome:
    """What a case did.

    Attributes:
        sentence: the message for the user; empty if the input was taken.
        faults: what must not have been.
    """

    sentence: str
    faults: tuple[str, ...]


def judged(run: Callable[[], str | None], target: Path, mentions: str = "") -> Outcome:
    """Run a case and judge it.

    Args:
        run: does what is to be tried, and returns a message or none; an error is turned into its sentence.
        target: the only folder in which anything may be written.
        mentions: what a message has to name, e.g. the file's name.
    """
    begin, sentence = time.process_time(), ""
    faults: list[str] = []
    with watched(target) as written:
        try:
            with limited():
                sentence = run() or ""
        except SystemExit:
            sentence = ""
        except _HangError:
            faults.append(f"hangs for more than {HANGING} s")
        except Exception as error:
            sentence = one_sentence(error)
    seconds = time.process_time() - begin
    faults += [f"raw message: {part!r}" for part in RAW if part in sentence]
    if found := NAME.search(sentence):
        faults.append(f"an exception's name: {found.group()}")
    if sentence and mentions and mentions not in sentence:
        faults.append(f"the message does not name {mentions}")
    if seconds > SLOWEST:
        faults.append(f"took {seconds:.0f} s")
    faults += [f"outside the target: {what}" for what in written]
    return Outcome(sentence, tuple(faults))


class _HangError(BaseException):
    """The case was stopped."""


@contextmanager
def limited() -> Iterator[None]:
    """Stop a case that hangs."""

    def stop(*_: Any) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGING)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- files written, links made, modules imported, processes started -------------------------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
ELSEWHERE = ("/dev/", "__pycache__", "torchinductor_")
"""Parts of names of what Python and torch write wherever they are told to."""
_STARTS = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}
_state: dict[str, Any] = {"target": None, "seen": [], "hooked": False}


@contextmanager
def watched(target: Path) -> Iterator[list[str]]:
    """Collect what is written outside a folder, and the processes that are started."""
    if not _state["hooked"]:
        sys.addaudithook(_note)
        _state["hooked"] = True
    seen: list[str] = []
    _state.update(target=target.resolve(), seen=seen)
    try:
        yield seen
    finally:
        _state["target"] = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    target = _state["target"]
    if target is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = bool(flags & _WRITES) if isinstance(flags, int) else any(letter in str(mode) for letter in "wax+")
        if not writes or not isinstance(path, (str, bytes, os.PathLike)):
            return
        paths = [path]
    elif event in _CHANGES:
        last = 2 if event in ("os.rename", "os.link", "os.symlink") else 1
        paths = [path for path in arguments[:last] if isinstance(path, (str, bytes, os.PathLike))]
    elif event in _STARTS:
        if arguments[0] != "git":  # which writes the commit down
            _state["seen"].append(f"{event} {arguments[0]!r}")
        return
    else:
        return
    for path in paths:
        name = os.fsdecode(path)
        # a folder that is removed is walked by descriptors, with bare names
        place = Path(name).absolute()
        place = place if place == target else place.parent.resolve()
        if Path(name).name == name and event in ("os.remove", "os.rmdir"):
            continue
        if not place.is_relative_to(target) and not any(part in name for part in ELSEWHERE):
            _state["seen"].append(f"{event} {name}")
