"""Draws and order that depend on the seed, the epoch and the rank alone, so that a resumption changes nothing."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

__all__ = ["SeedEpochs"]


class SeedEpochs(Callback):
    """Seed torch's generators anew at the start of each training epoch.

    Lightning's checkpoints do not hold the state of the generators, so that a resumed training would draw other noise
    than the uninterrupted one. Seeded by (seed, epoch, rank) it draws the same, whatever a validation, a gallery or a
    resumption drew in between, and every rank draws its own.

    Lightning's order of events gets in the way twice. A loader draws a number when it is begun, which happens before
    :meth:`on_train_epoch_start` in the first epoch of a process and after it in all others: so loaders get a generator
    of their own. And where ``configure_optimizers`` asks for the number of steps, the loaders of a resumed training
    are begun before the epoch is known, and worker processes load the order of epoch 0: so they are begun again.

    Args:
        seed: first part of the key.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._begun_too_early = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the training loaders a generator of their own, and note a resumption."""
        self._begun_too_early = trainer.current_epoch > 0
        loader = trainer.train_dataloader
        for single in loader if isinstance(loader, (list, tuple)) else [loader]:
            if isinstance(single, DataLoader) and single.generator is None:
                single.generator = torch.Generator().manual_seed(self.seed)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the generators of all devices."""
        if self._begun_too_early:
            self._begun_too_early = False
            iter(cast(Any, trainer.fit_loop)._data_fetcher)
        key = np.random.SeedSequence((self.seed, trainer.current_epoch, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
