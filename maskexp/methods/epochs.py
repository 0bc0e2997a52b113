"""How long a training is meant to last, for schedules that count in epochs."""

from __future__ import annotations

from lightning.pytorch import Trainer


def planned_epochs(trainer: Trainer, reason: str) -> int:
    """Return ``trainer.max_epochs``.

    Args:
        trainer: the trainer of the method.
        reason: what needs the number and how to do without, the beginning of the error.

    Raises:
        ValueError: if the number of epochs is not bounded.
    """
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0:
        raise ValueError(f"{reason}: set trainer.max_epochs")
    return epochs
