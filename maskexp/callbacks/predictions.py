"""Predictions on disk, so that anyone can recompute a number by other means."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from maskexp.files import atomic_write
from maskexp.types import required_datamodule

__all__ = ["PredictionWriter"]

COLUMNS = ("id", "label", "group", "predicted", "probability")


class PredictionWriter(Callback):
    """Write ``predictions.csv`` and ``logits.npy``, each sample once and in the order of the data set.

    ``predictions.csv`` has the columns id, label, group (-1 where there is none), predicted and probability, the
    softmax probability of the predicted class; classes and groups are indices. Row *i* of ``logits.npy``, float32
    ``(N, K)``, belongs to row *i* of the table. Under several processes each writes the attributions of its own
    samples and the first writes the table.

    Args:
        directory: folder to write into.
        save_attributions: write each image's attribution, as the metrics see it, to ``attributions/<id>.npy``
            (float32 ``(H, W)`` in [0, 1]) and ``attributions/<id>.png`` (8 bit); a slash in an id becomes ``__``.
    """

    def __init__(self, directory: str, save_attributions: bool = False) -> None:
        self.directory = Path(directory)
        self.save_attributions = save_attributions
        self._batches: list[dict[str, np.ndarray]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier prediction."""
        self._batches.clear()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the small results and write the large ones."""
        values = {key: outputs[key].cpu().numpy() for key in ("index", "label", "group")}
        self._batches.append(values | {"logits": outputs["logits"].float().cpu().numpy()})
        if self.save_attributions:
            if "attribution" not in outputs:
                raise ValueError(
                    f"{type(pl_module).__name__} has no attribution to save; leave save_attributions false"
                )
            ids = _ids(trainer)
            self._write_attributions([ids[i] for i in values["index"]], outputs["attribution"])

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the ranks together and write the table."""
        local = {key: np.concatenate([batch[key] for batch in self._batches]) for key in self._batches[0]}
        parts: list[Any] = [local]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, local)
        if trainer.is_global_zero:
            merged = {key: np.concatenate([part[key] for part in parts]) for key in local}
            order = np.argsort(merged["index"])
            self._write_table(_ids(trainer), {key: value[order] for key, value in merged.items()})

    def _write_table(self, ids: Sequence[str], rows: dict[str, np.ndarray]) -> None:
        if len(np.unique(rows["index"])) != len(rows["index"]):
            raise ValueError("a sample was predicted twice; use the samplers of maskexp's datamodules")
        logits = torch.from_numpy(rows["logits"])
        probability, predicted = logits.softmax(dim=1).max(dim=1)
        table = atomic_write(self.directory / "predictions.csv")
        with table as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for i, index in enumerate(rows["index"]):
                numbers = (rows["label"][i], rows["group"][i], int(predicted[i]), f"{float(probability[i]):.6f}")
                writer.writerow((ids[index], *numbers))
        with atomic_write(self.directory / "logits.npy") as partial:
            np.save(partial, rows["logits"])

    def _write_attributions(self, ids: Sequence[str], attributions: Tensor) -> None:
        folder = self.directory / "attributions"
        folder.mkdir(parents=True, exist_ok=True)
        for identity, attribution in zip(ids, attributions.float().cpu().numpy()[:, 0], strict=True):
            name = str(identity).replace("/", "__")
            with atomic_write(folder / f"{name}.npy") as partial:
                np.save(partial, attribution)
            with atomic_write(folder / f"{name}.png") as partial:
                Image.fromarray(np.rint(attribution * 255).astype(np.uint8)).save(partial)


def _ids(trainer: Trainer) -> Sequence[str]:
    data = required_datamodule(trainer, "PredictionWriter")
    return cast(Sequence[str], data.dataset(data.predict_split).ids)
