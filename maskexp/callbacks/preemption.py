"""Leaving when asked to, and going on where one left: what pre-emption, time limits and Ctrl-C need."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from maskexp.callbacks.checkpoints import KeepCheckpoints
from maskexp.process import Interruption, defer_interruption, interruptible, stop_signal

__all__ = ["LeaveWhenAsked"]

NOTHING, SAVE = 0, 1  # beside the numbers of signals, which are larger


class LeaveWhenAsked(Checkpoint):
    """Look after each batch whether the process was asked to stop; write ``last.ckpt`` and leave.

    All ranks decide together, by the most urgent request that any of them got. A training leaves behind the step that
    it is in, also in the middle of an epoch; a validation inside it is repeated as a whole by the resumed training, and
    so is every other evaluation. It is a ``Checkpoint`` because Lightning calls those last.

    Lightning's own handlers are kept out: on SIGUSR1 they save inside the signal handler, to a file that nobody reads
    after an epoch, and on SIGTERM they communicate inside the handler.

    Args:
        keeper: writes ``last.ckpt``.
        checkpoint_every: time, as ``HH:MM:SS``, after which ``last.ckpt`` is written inside an epoch too; None writes
            it at the end of each epoch only.

    Raises:
        ValueError: if the time is not positive.
    """

    def __init__(self, keeper: KeepCheckpoints, checkpoint_every: timedelta | None = timedelta(minutes=15)) -> None:
        if checkpoint_every is not None and checkpoint_every <= timedelta():
            raise ValueError(f"checkpoint_every is {checkpoint_every}; it has to be a positive time, or null for never")
        self.keeper = keeper
        self.checkpoint_every = checkpoint_every
        self._written = 0.0
        self._repeats_validation = False
        self._common_batches = 0.0

    # --- between the batches of a training -----------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take requests at the end of a batch from here on, and keep Lightning from handling them."""
        cast(Any, trainer)._signal_connector.register_signal_handlers = _no_handlers
        defer_interruption()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take requests at once again, where no other rank waits for this one."""
        if trainer.world_size == 1:
            interruptible()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave before the first step if asked to while everything was set up."""
        self._written = time.monotonic()
        self._leave_if(self._agreed(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` where it is due or asked for, and leave if asked to."""
        due = self.checkpoint_every is not None and (
            time.monotonic() - self._written >= self.checkpoint_every.total_seconds()
        )
        agreed = self._agreed(trainer, SAVE if due else NOTHING)
        # Gradients in accumulation are in no checkpoint; behind a validation or an epoch there are other occasions.
        if agreed and not _accumulates(trainer) and not _something_follows(trainer):
            self._write(trainer)
            self._leave_if(agreed)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave behind an epoch, whose checkpoint was just written."""
        self._written = time.monotonic()
        self._leave_if(self._agreed(trainer))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say in a checkpoint that was written during a validation that the validation is yet to be done.

        Lightning repeats it if the validation's progress looks like one that a first batch interrupted.
        """
        if self._repeats_validation:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}

    # --- between the batches of an evaluation --------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out after how many batches all ranks are still there to decide."""
        self._count_common(trainer, cast(Any, trainer).num_val_batches)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, _: int = 0
    ) -> None:
        """Leave if asked to; a training writes down first that this validation is yet to be done."""
        if batch_idx >= self._common_batches or not (agreed := self._agreed(trainer)):
            return
        steps_left = trainer.max_steps == -1 or trainer.global_step < trainer.max_steps
        # Lightning does not enter a training without steps left: then the last checkpoint has to do.
        if trainer.state.fn == "fit" and not trainer.sanity_checking and steps_left:
            self._repeats_validation = True
            self._write(trainer)
        self._leave_if(agreed)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out after how many batches all ranks are still there to decide."""
        self._count_common(trainer, cast(Any, trainer).num_test_batches)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, _: int = 0
    ) -> None:
        """Leave if asked to."""
        if batch_idx < self._common_batches:
            self._leave_if(self._agreed(trainer))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out after how many batches all ranks are still there to decide."""
        self._count_common(trainer, cast(Any, trainer).num_predict_batches)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, _: int = 0
    ) -> None:
        """Leave if asked to."""
        if batch_idx < self._common_batches:
            self._leave_if(self._agreed(trainer))

    # --- the decision --------------------------------------------------------------------------------------------

    def _agreed(self, trainer: Trainer, otherwise: int = NOTHING) -> int:
        """Return the most urgent of what all ranks want: the number of a signal, ``SAVE`` or ``NOTHING``."""
        wanted = torch.tensor(stop_signal() or otherwise, device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            dist.all_reduce(wanted, op=dist.ReduceOp.MAX)
        return int(wanted)

    def _leave_if(self, agreed: int) -> None:
        if agreed > SAVE:
            raise Interruption(agreed)

    def _write(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.keeper.last, weights_only=False)
        self._written = time.monotonic()

    def _count_common(self, trainer: Trainer, batches: list[int | float]) -> None:
        """Ranks have unequally many samples; who is through with them cannot be asked any more."""
        own = torch.tensor(float(sum(batches)), device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            dist.all_reduce(own, op=dist.ReduceOp.MIN)
        self._common_batches = float(own)


def _no_handlers() -> None:
    """Stand in the place of Lightning's installation of signal handlers."""


def _accumulates(trainer: Trainer) -> bool:
    """Whether the step that just ended left its gradients to the next one."""
    return trainer.fit_loop._should_accumulate()


def _something_follows(trainer: Trainer) -> bool:
    """Whether a validation or the end of the epoch comes right behind this batch."""
    loop = trainer.fit_loop.epoch_loop
    return loop._num_ready_batches_reached() or loop._should_check_val_fx(cast(Any, trainer.fit_loop)._data_fetcher)
