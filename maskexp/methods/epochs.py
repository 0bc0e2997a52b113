"""How long a training is meant to last, for schedules that count in epochs."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

__all__ = ["planned_epochs", "steps_per_epoch"]


def planned_epochs(trainer: Trainer, reason: str) -> int:
    """Return how many epochs a training will begin: ``trainer.max_epochs``, or fewer where ``max_steps`` ends it.

    Args:
        trainer: the trainer of the method.
        reason: what needs the number and how to do without, the beginning of the error.

    Raises:
        ValueError: if the number of epochs is not bounded.
    """
    bounds = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        bounds.append(trainer.max_epochs)
    if trainer.max_steps >= 0:
        bounds.append(math.ceil(trainer.max_steps / steps_per_epoch(trainer)))
    if not bounds:
        raise ValueError(f"{reason}: set trainer.max_epochs")
    return min(bounds)


def steps_per_epoch(trainer: Trainer) -> int:
    """Return the optimiser's steps in an epoch, from the training loader.

    Raises:
        ValueError: if the loader has no length.
    """
    if trainer.train_dataloader is None:  # as trainer.estimated_stepping_batches does
        trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    if math.isinf(batches):
        raise ValueError(
            "the training loader does not say how many batches an epoch has, so that nothing can be scheduled in "
            "epochs; give --trainer.limit_train_batches, or --model.schedule constant and --model.warmup_epochs 0"
        )
    return max(math.ceil(batches / trainer.accumulate_grad_batches), 1)
