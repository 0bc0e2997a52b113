"""Which checkpoints a training keeps, and how they reach the disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from maskexp.files import atomic_write
from maskexp.suggestions import did_you_mean
from maskexp.types import attached_datamodule, required_datamodule

__all__ = ["KeepCheckpoints", "WholeFileCheckpointIO"]

AUTO, LAST = "auto", "last"


class KeepCheckpoints(Checkpoint):
    """Keep ``last.ckpt``, written at the end of each epoch, and ``best.ckpt``, chosen by a named rule.

    Where validations fall into the middle of an epoch (``val_check_interval``), ``best.ckpt`` is written right behind
    the validation, with the weights that it judged.

    An epoch in which a method's target is still annealed (:attr:`~maskexp.methods.Method.settled`) is chosen only while
    there is no other: its masks are not those that were asked for, however good its score.

    Lightning's ModelCheckpoint forgets the best score when the directory has moved, counts a score of an earlier
    validation again in epochs without one, and needs to know the metric before the data is known.

    Args:
        directory: folder of the checkpoints.
        metric: validation metric to maximise, e.g. ``acc_worst_group`` or ``acc``; the earliest epoch wins a tie.
            ``last`` takes the final epoch. ``auto`` means ``acc_worst_group`` where every class of the validation
            split is in more than one group, else ``acc``, and ``last`` without a validation split; a method may have
            another one (:attr:`~maskexp.methods.Method.selection`).

    Attributes:
        rule: the metric that is in force; known from the start of training.
        score: of the best weights so far, None before the first validation.
        epoch: of the best weights so far, counted from 0.
        settled: whether the best weights so far are of an epoch after the annealing.
    """

    def __init__(self, directory: str, metric: str = AUTO) -> None:
        self.directory = Path(directory)
        self.metric = metric.removeprefix("val/")
        self.rule = self.metric
        self.score: float | None = None
        self.epoch: int | None = None
        self.settled = False
        self._validated = False

    @property
    def best(self) -> Path:
        """Path of the selected checkpoint."""
        return self.directory / "best.ckpt"

    @property
    def last(self) -> Path:
        """Path of the checkpoint that a training goes on from."""
        return self.directory / "last.ckpt"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide on the rule; refuse one that the validation split has no value for, or that comes too late.

        Raises:
            ValueError: if the validation comes after the last epoch, or if the metric compares attributions with
                foregrounds, and the validation split has none.
        """
        if self.metric == AUTO:
            self.rule = getattr(pl_module, "selection", None) or _default_rule(trainer)
        every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
        if self.rule != LAST and trainer.enable_validation and every and epochs and 0 < epochs < every:
            raise ValueError(
                f"trainer.check_val_every_n_epoch is {every}, but there are {epochs} epochs, so that no checkpoint "
                "would be selected; validate more often, or select by --selection.metric last"
            )
        data: Any = attached_datamodule(trainer)
        judges_maps = self.rule.startswith(("epg", "pxap")) and trainer.enable_validation and data is not None
        if judges_maps and not np.asarray(data.dataset("val").has_foreground).any():
            raise ValueError(
                f"selection.metric is {self.rule!r}, but no image of the validation split has a foreground to compare "
                "attributions with; select by another metric, e.g. acc, or give masks for val"
            )

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complain about an unknown metric, ours or another callback's, before the first epoch rather than after it."""
        if self.rule != LAST:
            self._require_metric(trainer)
        known = [name for name in trainer.callback_metrics if not name.startswith("val/n_group/")]
        for callback in cast(Any, trainer).callbacks:
            metric = getattr(callback, "monitor", None)
            if isinstance(metric, str) and not metric.startswith("train/") and metric not in trainer.callback_metrics:
                hint = did_you_mean(metric, known)
                raise ValueError(f"{type(callback).__name__} monitors {metric!r}, which nothing measures; {hint}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there are fresh scores; in the middle of an epoch, keep the weights that they are of."""
        self._validated = trainer.state.fn == "fit" and not trainer.sanity_checking
        if self._validated and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._keep_best(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoints of this epoch; Lightning calls this after every other callback's."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self._validated or self.rule == LAST:
            self._keep_best(trainer)
        trainer.save_checkpoint(self.last, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training and a reader of the checkpoint need to know."""
        return {"rule": self.rule, "score": self.score, "epoch": self.epoch, "settled": self.settled}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best score so far, unless the rule was changed by hand.

        A checkpoint of another directory brings no best weights along: there the comparison begins anew.
        """
        if self.metric in (AUTO, state_dict["rule"]) and self.best.is_file():
            self.score, self.epoch = state_dict["score"], state_dict["epoch"]
            self.settled = state_dict.get("settled", True)  # version 0.1 began without it

    def _improves(self, score: float, settled: bool) -> bool:
        if self.epoch is None:
            return True
        if settled != self.settled:
            return settled
        best = -math.inf if self.score is None or math.isnan(self.score) else self.score
        return score > best

    def _keep_best(self, trainer: Trainer) -> None:
        """Write ``best.ckpt`` if the last validation has the best score so far."""
        self._validated = False
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        score = None if self.rule == LAST else self._score(trainer)
        settled = getattr(trainer.lightning_module, "settled", True)
        if score is None or self._improves(score, settled):
            self.score, self.epoch, self.settled = score, trainer.current_epoch, settled
            trainer.save_checkpoint(self.best, weights_only=False)

    def _score(self, trainer: Trainer) -> float:
        """Return the score of the last validation, the same on all ranks."""
        self._require_metric(trainer)
        return float(trainer.strategy.broadcast(trainer.callback_metrics[f"val/{self.rule}"].item()))

    def _require_metric(self, trainer: Trainer) -> None:
        if f"val/{self.rule}" not in trainer.callback_metrics:
            known = [name.removeprefix("val/") for name in trainer.callback_metrics if name.startswith("val/")]
            choices = sorted(name for name in known if not name.startswith("n_group/"))
            raise ValueError(f"selection.metric is {self.rule!r}; choose auto, last, {', '.join(choices)}")


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its target and then rename it.

    Lightning writes to the system's temporary folder and moves the file from there, which across file systems is a
    copy that a kill can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save ``checkpoint`` whole or not at all."""
        if storage_options is not None:
            raise TypeError("checkpoints are local files; storage_options mean nothing to them")
        with atomic_write(path) as partial, partial.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch reports a failed write as a broken archive; what the system said about the file is behind it.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def _default_rule(trainer: Trainer) -> str:
    if not trainer.enable_validation:
        return LAST
    val = required_datamodule(trainer, "KeepCheckpoints, with metric: auto,").dataset("val")
    label, group = np.asarray(val.label), np.asarray(val.group)
    mixed = all(len(np.unique(group[(label == k) & (group >= 0)])) > 1 for k in np.unique(label))
    return "acc_worst_group" if mixed else "acc"
