"""One data set class for all data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from maskexp.data.loading.pixels import Pixels
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.transforms.geometry import EvaluationGeometry, TrainingGeometry

__all__ = ["THRESHOLD", "Key", "ManifestDataset"]

Key = int | tuple[int, int]
"""A row, or (epoch, row)."""
THRESHOLD = 128  # of the soft foreground, 0..255: one half, rounded up


class ManifestDataset(Dataset[dict[str, Any]]):
    """One split of a manifest.

    ``dataset[i]`` is the sample as evaluation sees it; ``dataset[epoch, i]`` is its augmentation in that epoch. The
    sampler decides which of the two a loader yields.

    A sample has the keys of :class:`~maskexp.types.Batch`, without the batch dimension: ``image`` uint8 (3, H, W),
    ``foreground`` bool (1, H, W), the others int or bool. The index is the row in this split.

    Args:
        table: the manifest.
        split: name of the split.
        pixels: where the pixels of this split come from.
        evaluation: geometry of evaluation.
        training: geometry of training.
        evaluated: pictures after the geometry of evaluation, if they are cached.
        trainable: pictures that training starts from instead of ``pixels``, if they are cached.

    Attributes:
        ids: ``(N,)`` str, ids of the samples.
        flags: ``(N,)`` str, flags of the samples, e.g. ``mislabeled``.
        label: ``(N,)`` int64.
        attribute: ``(N,)`` int64, -1 where there is none.
        group: ``(N,)`` int64, -1 where there is none.
        has_foreground: ``(N,)`` bool.
    """

    def __init__(
        self,
        table: ManifestTable,
        split: str,
        pixels: Pixels,
        evaluation: EvaluationGeometry,
        training: TrainingGeometry,
        evaluated: Pixels | None = None,
        trainable: Pixels | None = None,
    ) -> None:
        rows = table.split(split)
        self.split, self.pixels, self.evaluation, self.training = split, pixels, evaluation, training
        self.evaluated, self.trainable = evaluated, trainable or pixels
        self.num_groups = len(table.card.group_names)
        self.ids = np.array([row.id for row in rows], np.str_)
        self.flags = np.array([row.flags for row in rows], np.str_)
        self.label = np.array([row.label for row in rows], np.int64)
        self.attribute = np.array([row.attr for row in rows], np.int64)
        self.group = np.array([table.group_of(row) for row in rows], np.int64)
        self.has_foreground = pixels.has_foreground

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.label)

    def group_counts(self) -> np.ndarray:
        """Return ``(G,)`` int64, the number of samples per group."""
        return np.bincount(self.group[self.group >= 0], minlength=self.num_groups)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Return the sample ``index``, or its augmentation for a pair ``(epoch, index)``."""
        index = key[1] if isinstance(key, tuple) else key
        moved = self.moved(key)
        return {
            "image": moved[:3].contiguous(),
            "label": int(self.label[index]),
            "attribute": int(self.attribute[index]),
            "group": int(self.group[index]),
            "foreground": moved[3:] >= THRESHOLD if len(moved) == 4 else torch.zeros_like(moved[:1], dtype=torch.bool),
            "has_foreground": bool(self.has_foreground[index]),
            "index": int(index),
        }

    def moved(self, key: Key) -> Tensor:
        """Return a sample's pixels after the geometry, uint8 ``(4, S, S)``, see :meth:`Pixels.read`."""
        if isinstance(key, tuple):
            epoch, index = key
            return self.training(self.trainable.read(index), epoch, index)
        if self.evaluated is not None:
            return self.evaluated.read(key)
        return self.evaluation(self.pixels.read(key))
