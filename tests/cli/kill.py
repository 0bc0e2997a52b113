"""A callback that kills its process at a given moment, as a cluster would: at once and without a word."""

from __future__ import annotations

import os
import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Kill(Callback):
    """Send SIGKILL to this process.

    Args:
        moment: ``epoch_start``, ``batch_end`` (of training) or ``test``.
        epoch: of training.
        batch: of the epoch.
    """

    def __init__(self, moment: str, epoch: int = 0, batch: int = 0) -> None:
        self.moment = (moment, epoch, batch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("epoch_start", trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._reach("batch_end", trainer.current_epoch, batch_idx)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("test")

    def _reach(self, moment: str, epoch: int = 0, batch: int = 0) -> None:
        if (moment, epoch, batch) == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)
