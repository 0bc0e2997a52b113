"""Draws and order that depend on the seed, the epoch, the step and the rank alone: a resumption changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from maskexp.data.loading.samplers import EpochSampler

__all__ = ["SeedSteps"]


class SeedSteps(Callback):
    """Seed torch's generators anew before each training step, and let a resumed training go on where it was.

    Lightning's checkpoints do not hold the state of the generators, so that a resumed training would draw other noise
    than the uninterrupted one. Seeded by (seed, epoch, step, rank) it draws the same, whatever a validation, a gallery
    or a resumption drew in between, and every rank draws its own. A batch changes its colours before
    ``on_train_batch_start``: so its draws are seeded at the end of what lies before it.

    Lightning's order of events gets in the way twice. A loader draws a number when it is begun: so loaders get a
    generator of their own. And where ``configure_optimizers`` asks for the number of steps, the loaders of a resumed
    training are begun before its epoch and step are known: so they are begun again, behind the samples of the epoch
    that were seen already, which the sampler leaves out without reading them.

    Args:
        seed: first part of the key.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the training loaders a generator of their own, and go on in the order of an interrupted epoch."""
        loops: Any = trainer.fit_loop
        epoch = loops.epoch_progress.current.processed
        done = loops.epoch_loop.batch_progress.current.processed if loops.restarted_mid_epoch else 0
        loader = trainer.train_dataloader
        for single in loader if isinstance(loader, (list, tuple)) else [loader]:
            if isinstance(single, DataLoader) and single.generator is None:
                single.generator = torch.Generator().manual_seed(self.seed)
            sampler = getattr(single, "sampler", None)
            if isinstance(single, DataLoader) and isinstance(sampler, EpochSampler):
                sampler.set_epoch(epoch)
                sampler.skip(epoch, done * (single.batch_size or 1))
        if epoch or done:
            iter(loops._data_fetcher)
        self._seed_step(trainer, epoch, done)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the first step of an epoch; Lightning leaves this out where it goes on in the middle of one."""
        self._seed_step(trainer, trainer.current_epoch, 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Seed the next step."""
        self._seed_step(trainer, trainer.current_epoch, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the step after a validation in the middle of an epoch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._seed_step(trainer, trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def _seed_step(self, trainer: Trainer, epoch: int, step: int) -> None:
        """Seed the generators of all devices for a step of an epoch, both counted from 0."""
        key = np.random.SeedSequence((self.seed, epoch, step, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
