"""A callback that signals its process at a given moment, as a cluster would."""

from __future__ import annotations

import os
import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Kill(Callback):
    """Send a signal, SIGKILL if none is named, to this process.

    Args:
        moment: ``fit_start``, ``epoch_start``, ``batch_end`` (of training), ``validation`` (inside a training)
            or ``test``.
        epoch: of training.
        batch: of the epoch.
        name: of the signal.
        rank: that is signalled.
    """

    def __init__(self, moment: str, epoch: int = 0, batch: int = 0, name: str = "SIGKILL", rank: int = 0) -> None:
        self.moment = (moment, epoch, batch)
        self.signal = signal.Signals[name]
        self.rank = str(rank)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("fit_start")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("epoch_start", trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._reach("batch_end", trainer.current_epoch, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._reach("validation", trainer.current_epoch)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("test")

    def _reach(self, moment: str, epoch: int = 0, batch: int = 0) -> None:
        if (moment, epoch, batch) == self.moment and os.environ.get("LOCAL_RANK", "0") == self.rank:
            os.kill(os.getpid(), self.signal)
