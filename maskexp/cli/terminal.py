"""What the training verbs say on stderr, and what they keep quiet."""

from __future__ import annotations

import logging
import sys
import time
import warnings

from lightning.pytorch.utilities import rank_zero_only

__all__ = ["ProgressNotes", "note", "silence"]

FIRST_NOTE, NEXT_NOTES = 10.0, 30.0
"""Seconds after which a map is said to take long, and between what is said then."""


def silence() -> None:
    """Keep out of the terminal what says nothing about the run: an advertisement, and some warnings.

    Lightning uses an old name of torch's, it recommends to reduce over ranks what our metrics have reduced already, it
    asks whether the modules of a frozen backbone are in evaluation mode on purpose, it doubts that our loaders go on in
    the middle of an epoch, and it wonders why a machine has ``srun``.
    """
    warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*, sync_dist=True\)`")
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
    warnings.filterwarnings("ignore", message=r"Be aware that when using `ckpt_path`, callbacks used to create")
    warnings.filterwarnings("ignore", message=r"You're resuming from a checkpoint that ended before the epoch ended")
    warnings.filterwarnings("ignore", message=r"The `srun` command is available on your system but is not used")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)


@rank_zero_only
def note(text: str) -> None:
    """Say something on stderr, from the first rank only."""
    sys.stderr.write(f"maskexp: {text}\n")


class ProgressNotes:
    """Say how far the maps of a batch are, if they take long: after 10 s, then every 30 s.

    Lines rather than a bar, which stand in the log of a job too, and above the trainer's own bar.
    """

    def __init__(self) -> None:
        self._of: tuple[str, int] | None = None
        self._begin = self._due = 0.0
        self._first = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note of a map, the forward passes that are done and their total."""
        now = time.monotonic()
        if self._of != (what, total) or done <= self._first:
            self._of, self._begin, self._due, self._first = (what, total), now, now + FIRST_NOTE, done
        elif now >= self._due and done < total:
            self._due = now + NEXT_NOTES
            left = (now - self._begin) / (done - self._first) * (total - done)
            note(f"{what}: {done} of {total} forward passes for this batch, about {_duration(left)} left")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
