"""Random draws that depend on the seed, the epoch and the rank alone."""

from __future__ import annotations

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SeedEpochs"]


class SeedEpochs(Callback):
    """Seed torch's generators anew at the start of each training epoch.

    Lightning's checkpoints do not hold the state of the generators, so that a resumed training would draw other noise
    than the uninterrupted one. Seeded by (seed, epoch, rank) it draws the same, whatever a validation, a gallery or a
    resumption drew in between, and every rank draws its own.

    Args:
        seed: first part of the key.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the generators of all devices."""
        key = np.random.SeedSequence((self.seed, trainer.current_epoch, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
