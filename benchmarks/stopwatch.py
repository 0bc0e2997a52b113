"""What benchmarks of training steps share: time steps of a real training beside bare work on the same batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

from lightning.pytorch import Callback, Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods.base import Method

WARM_UP = 3
"""First steps that do not count."""

Precision = Literal["32-true", "bf16-mixed"]
"""Names of Lightning's."""

Work = Callable[[Any], float]
"""Does the bare work on a batch and returns its seconds of processor time."""


class Stopwatch(Callback):
    """Time the steps of a training, and bare work right before or after each; the order changes from step to step."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.began = 0.0

    def on_train_batch_start(self, trainer: Trainer, method: Any, batch: Any, index: int) -> None:
        """Do the bare work first in every second step, then start the watch."""
        if index % 2:
            self.bare.append(self.work(batch))
        self.began = time.process_time()

    def on_after_backward(self, trainer: Trainer, method: Any) -> None:
        """Stop the watch behind the backward pass."""
        self.ours.append(time.process_time() - self.began)

    def on_train_batch_end(self, trainer: Trainer, method: Any, outputs: Any, batch: Any, index: int) -> None:
        """Do the bare work afterwards in every other step."""
        if not index % 2:
            self.bare.append(self.work(batch))


def drawn_birds(image_size: int, batch_size: int, steps: int) -> SyntheticBirds:
    """Return data of as many batches as are timed."""
    count = batch_size * (steps + WARM_UP)
    return SyntheticBirds(image_size=image_size, batch_size=batch_size, train_size=count, val_size=4, test_size=4)


def median_seconds(
    method: Method, data: SyntheticBirds, work: Work, precision: Precision = "32-true"
) -> tuple[float, float]:
    """Train an epoch and return the median seconds of bare work and of a step."""
    watch = Stopwatch(work)
    trainer = Trainer(
        max_epochs=1,
        precision=precision,
        accelerator="cpu",
        devices=1,
        logger=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[watch],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(method, data)
    return statistics.median(watch.bare[WARM_UP:]), statistics.median(watch.ours[WARM_UP:])
