"""What we need to know of Lightning's trainer, or to keep it from doing, that it offers no public way for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

__all__ = ["out_of_time", "restoring_only"]


@contextmanager
def restoring_only(trainer: Trainer, checkpoint: str | None) -> Iterator[None]:
    """Let a training restore what it was told to and nothing else: a fresh one starts fresh.

    Without a checkpoint, Lightning looks for one that ``OnExceptionCheckpoint`` or a SLURM requeue left behind,
    possibly of another run.
    """
    connector = cast(Any, trainer)._checkpoint_connector
    if checkpoint is None:
        connector._user_managed, connector._ckpt_path = True, None
    try:
        yield
    finally:
        connector._user_managed = False


def out_of_time(trainer: Trainer) -> bool:
    """Return whether ``max_time`` ended a training before its planned epochs or steps were done."""
    timers = [callback for callback in cast(Any, trainer).callbacks if isinstance(callback, Timer)]
    left = [timer.time_remaining() for timer in timers]
    epochs_left = trainer.max_epochs is None or trainer.max_epochs < 0 or trainer.current_epoch < trainer.max_epochs
    steps_left = trainer.max_steps < 0 or trainer.global_step < trainer.max_steps
    ended = epochs_left and steps_left and any(seconds is not None and seconds <= 0 for seconds in left)
    return bool(trainer.strategy.broadcast(ended))
