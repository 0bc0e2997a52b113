"""An image of what the model looks at, every few epochs and for every group."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from maskexp.callbacks.figure import GalleryRow, draw_gallery
from maskexp.callbacks.wandb_log import log_gallery, log_test_images, wandb_runs
from maskexp.files import atomic_write
from maskexp.metrics.functional import energy_pointing_game
from maskexp.types import Batch, DataSpec, Prediction, required_datamodule

__all__ = ["Gallery", "choose_samples"]

MAX_ROWS = 16


class Gallery(Callback):
    """Draw fixed samples of every group: image, foreground, each stage's mask, attribution, prediction.

    During training ``<directory>/epoch_003.png`` shows the validation split after epoch 3, counted from 0; after an
    evaluation ``val.png`` or ``test.png`` shows that split. The same image goes to TensorBoard, and its samples with
    masks as overlays to wandb, where such a logger is set. Only the first rank draws.

    Args:
        directory: folder of the images.
        every_n_epochs: draw after the first, each n-th and the last epoch; 0 draws nothing, evaluations included.
        samples_per_group: samples of each group, or of each class where the data has no groups; at most 16 rows in all.
    """

    def __init__(self, directory: str, every_n_epochs: int = 5, samples_per_group: int = 2) -> None:
        if every_n_epochs < 0 or samples_per_group < 1:
            raise ValueError(
                f"gallery.every_n_epochs is {every_n_epochs} and gallery.samples_per_group {samples_per_group}; "
                "they have to be at least 0 and 1"
            )
        self.directory = Path(directory)
        self.every_n_epochs = every_n_epochs
        self.samples_per_group = samples_per_group

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the validation split, in a training only when it is due."""
        if trainer.sanity_checking or not self.every_n_epochs:
            return
        if trainer.state.fn != "fit":
            self._draw(trainer, pl_module, "val", "val")
        elif trainer.current_epoch % self.every_n_epochs == 0 or trainer.current_epoch + 1 == trainer.max_epochs:
            self._draw(trainer, pl_module, "val", f"epoch_{trainer.current_epoch:03d}")

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the test split."""
        if self.every_n_epochs:
            self._draw(trainer, pl_module, "test", "test")

    def _draw(self, trainer: Trainer, pl_module: LightningModule, split: str, name: str) -> None:
        data = required_datamodule(trainer, "Gallery")
        indices = choose_samples(data.dataset(split), self.samples_per_group)
        batch: Batch = data.fetch(split, indices)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            prediction: Prediction = cast(Any, pl_module).explain_batch(move_data_to_device(batch, pl_module.device))
        title = f"{data.spec.name}, {split}" + (f", epoch {trainer.current_epoch}" if trainer.state.fn == "fit" else "")
        rows = gallery_rows(batch, prediction, data.spec)
        drawn = draw_gallery(rows, title)
        with atomic_write(self.directory / f"{name}.png") as partial:
            drawn.save(partial)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"gallery/{split}", np.asarray(drawn), trainer.global_step, None, "HWC")
        runs = wandb_runs(trainer.loggers)
        log_gallery(runs, split, rows, trainer.global_step)
        if split == "test":
            log_test_images(runs, rows, _epg(batch, prediction), trainer.global_step)


def _epg(batch: Batch, prediction: Prediction) -> list[float]:
    """Return the EPG of each image."""
    attribution = prediction.attribution_at((batch["image"].shape[-2], batch["image"].shape[-1]))
    if attribution is None:
        return [math.nan] * len(batch["label"])
    values: list[float] = energy_pointing_game(attribution.cpu(), batch["foreground"], reduction="none").tolist()
    return values


def choose_samples(dataset: Any, samples_per_group: int, max_rows: int = MAX_ROWS) -> list[int]:
    """Return indices spread evenly over each group, or over each class where there are no groups.

    The same data set always gives the same samples. With too many groups for ``max_rows``, groups that are spread
    evenly over all are shown, each with fewer samples.
    """
    group = np.asarray(dataset.group)
    of = group if (group >= 0).any() else np.asarray(dataset.label)
    groups = np.unique(of[of >= 0])
    groups = groups[_spread(len(groups), min(len(groups), max_rows))]
    each = min(samples_per_group, max(max_rows // len(groups), 1))
    chosen: list[int] = []
    for value in groups:
        members = np.flatnonzero(of == value)
        chosen += [int(i) for i in members[_spread(len(members), min(len(members), each))]]
    return chosen


def gallery_rows(batch: Batch, prediction: Prediction, spec: DataSpec) -> list[GalleryRow]:
    """Return what the gallery shows of each sample."""
    size = (batch["image"].shape[-2], batch["image"].shape[-1])
    attribution = prediction.attribution_at(size)
    probability, predicted = prediction.logits.float().softmax(dim=1).max(dim=1)
    rows = []
    for i, (label, group) in enumerate(zip(batch["label"].tolist(), batch["group"].tolist(), strict=True)):
        rows.append(
            GalleryRow(
                image=batch["image"][i].permute(1, 2, 0).numpy(),
                foreground=batch["foreground"][i, 0].numpy() if batch["has_foreground"][i] else None,
                masks=[mask[i, 0].float().cpu().numpy() for mask in prediction.masks],
                attribution=None if attribution is None else attribution[i, 0].cpu().numpy(),
                group=spec.group_names[group] if group >= 0 else "",
                label=spec.class_names[label],
                predicted=spec.class_names[int(predicted[i])],
                probability=float(probability[i]),
            )
        )
    return rows


def _spread(size: int, count: int) -> np.ndarray:
    """Return ``count`` different positions spread evenly over ``range(size)``."""
    return np.linspace(0, size - 1, count).round().astype(int)
