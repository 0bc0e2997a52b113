"""What the training verbs say on stderr, and what they keep quiet."""

from __future__ import annotations

import logging
import sys
import warnings

from lightning.pytorch.utilities import rank_zero_only

__all__ = ["note", "silence"]


def silence() -> None:
    """Keep out of the terminal what says nothing about the run: an advertisement, and some warnings.

    Lightning uses an old name of torch's, it recommends to reduce over ranks what our metrics have reduced already, it
    asks whether the modules of a frozen backbone are in evaluation mode on purpose, it doubts that our loaders go on in
    the middle of an epoch, and it wonders why a machine has ``srun``.
    """
    warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*, sync_dist=True\)`")
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
    warnings.filterwarnings("ignore", message=r"You're resuming from a checkpoint that ended before the epoch ended")
    warnings.filterwarnings("ignore", message=r"The `srun` command is available on your system but is not used")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)


@rank_zero_only
def note(text: str) -> None:
    """Say something on stderr, from the first rank only."""
    sys.stderr.write(f"maskexp: {text}\n")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
