"""Predictions on disk, so that anyone can recompute a number by other means."""

from __future__ import annotations

import csv
import io
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
LONGEST = 180
"""Bytes of a file's name, of which file systems allow 255; the rest is for numbers, endings and temporary names."""


class PredictionWriter(Callback):
    """Write ``predictions.csv`` and ``logits.npy``, each sample once and in the order of the data set.

    ``predictions.csv`` has the columns id, label, group (-1 where there is none), predicted and probability, the
    softmax probability of the predicted class; classes and groups are indices. Row *i* of ``logits.npy``, float32
    ``(N, K)``, belongs to row *i* of the table. Under several processes each writes the attributions of its own
    samples and the first writes the table.

    Args:
        directory: folder to write into.
        save_attributions: write each image's attribution, as the metrics see it, to ``attributions/<id>.npy``
            (float32 ``(H, W)`` in [0, 1]) and ``attributions/<id>.png`` (8 bit). A slash in an id becomes ``__``, what
            no file name may hold ``_``; an id whose name is taken, or too long, gets its row in the data set behind it.
            ``attributions/files.csv`` says which file belongs to which id.
    """

    def __init__(self, directory: str, save_attributions: bool = False) -> None:
        self.directory = Path(directory)
        self.save_attributions = save_attributions
        self._batches: list[dict[str, np.ndarray]] = []
        self._names: list[str] | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier prediction."""
        self._batches.clear()
        self._names = None

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
            if self._names is None:
                self._names = file_names(_ids(trainer))
            self._write_attributions([self._names[i] for i in values["index"]], outputs["attribution"])

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
            ids, rows = _ids(trainer), {key: value[order] for key, value in merged.items()}
            self._write_table(ids, rows)
            if self._names is not None:
                files = [(ids[index], f"{self._names[index]}.npy") for index in rows["index"]]
                _write_csv(self.directory / "attributions" / "files.csv", [("id", "file"), *files])

    def _write_table(self, ids: Sequence[str], rows: dict[str, np.ndarray]) -> None:
        if len(np.unique(rows["index"])) != len(rows["index"]):
            raise ValueError("a sample was predicted twice; use the samplers of maskexp's datamodules")
        logits = torch.from_numpy(rows["logits"])
        probability, predicted = logits.softmax(dim=1).max(dim=1)
        lines = [
            (ids[index], rows["label"][i], rows["group"][i], int(predicted[i]), f"{float(probability[i]):.6f}")
            for i, index in enumerate(rows["index"])
        ]
        _write_csv(self.directory / "predictions.csv", [COLUMNS, *lines])
        _write_array(self.directory / "logits.npy", rows["logits"])

    def _write_attributions(self, names: Sequence[str], attributions: Tensor) -> None:
        folder = self.directory / "attributions"
        for name, attribution in zip(names, attributions.float().cpu().numpy()[:, 0], strict=True):
            _write_array(folder / f"{name}.npy", attribution)
            with atomic_write(folder / f"{name}.png") as partial:
                Image.fromarray(np.rint(attribution * 255).astype(np.uint8)).save(partial)


def file_names(ids: Sequence[str]) -> list[str]:
    """Return a file name for each id, without its ending; no two are the same, whatever the case of their letters.

    Example:
        >>> file_names(["a/b", "a__b", "..", "x:y"])
        ['a__b', 'a__b_1', '__2', 'x_y']
    """
    names: list[str] = []
    taken: set[str] = set()
    for row, identity in enumerate(map(str, ids)):
        plain = identity.replace("/", "__").replace("\\", "__")
        name = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in plain)
        if name.startswith("."):  # a hidden file, or a folder above
            name = f"_{name.lstrip('.')}"
        if len(name.encode()) > LONGEST or not name.strip("_ "):
            name = f"{name.encode()[:LONGEST].decode(errors='ignore')}_{row}"
        while name.casefold() in taken:
            name = f"{name}_{row}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _write_array(path: Path, values: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, values)  # into a file, it does not say why a write failed
    with atomic_write(path) as partial:
        partial.write_bytes(content.getvalue())


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    # An id may come from a file name that is not UTF-8: it is written back as it was.
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as f:
        csv.writer(f, lineterminator="\n").writerows(rows)


def _ids(trainer: Trainer) -> Sequence[str]:
    data = required_datamodule(trainer, "PredictionWriter")
    return cast(Sequence[str], data.dataset(data.predict_split).ids)
