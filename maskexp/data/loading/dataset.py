"""One data set class for all data: from stored pixels and a manifest to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from maskexp.data.loading.image_files import HALF
from maskexp.data.loading.pixels import Pixels
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.types import Batch

__all__ = ["COLUMNS", "Key", "ManifestDataset", "image_and_foreground"]

Key = int | tuple[int, int]
"""A row, or (epoch, row)."""
COLUMNS = ("label", "attribute", "group", "has_foreground")


class ManifestDataset(Dataset[dict[str, Any]]):
    """One split of a manifest.

    ``dataset[i]`` is the sample as evaluation sees it; ``dataset[epoch, i]`` is its augmentation in that epoch. The
    sampler decides which of the two a loader yields. Samples have the keys of :class:`~maskexp.types.Batch`, without
    the batch dimension, and images as bytes.

    Args:
        table: the manifest.
        split: name of the split.
        pixels: where the pixels of this split come from.
        pipeline: the transforms of training and evaluation.
        evaluated: images after the transform of evaluation, if they are cached.
        trainable: images that training starts from instead of ``pixels``, if they are cached.

    Attributes:
        ids: ``(N,)`` str, ids of the samples.
        flags: ``(N,)`` str, flags of the samples, e.g. ``mislabeled``.
        label: ``(N,)`` int64.
        attribute: ``(N,)`` int64, -1 where there is none.
        group: ``(N,)`` int64, -1 where there is none.
        has_foreground: ``(N,)`` bool.
        channels: 4, or 3 where no sample of the split has a foreground.
    """

    def __init__(
        self,
        table: ManifestTable,
        split: str,
        pixels: Pixels,
        pipeline: Pipeline,
        evaluated: Pixels | None = None,
        trainable: Pixels | None = None,
    ) -> None:
        rows = table.split(split)
        self.table, self.split, self.pixels, self.pipeline = table, split, pixels, pipeline
        self.evaluated, self.trainable = evaluated, trainable or pixels
        self.num_groups = len(table.card.group_names)
        self.ids = np.array([row.id for row in rows], np.str_)
        self.flags = np.array([row.flags for row in rows], np.str_)
        self.label = np.array([row.label for row in rows], np.int64)
        self.attribute = np.array([row.attribute for row in rows], np.int64)
        self.group = np.array([table.group_of(row) for row in rows], np.int64)
        self.has_foreground = pixels.has_foreground
        self.channels = 4 if self.has_foreground.any() else 3

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.label)

    def group_counts(self) -> np.ndarray:
        """Return ``(G,)`` int64, the number of samples per group."""
        return np.bincount(self.group[self.group >= 0], minlength=self.num_groups)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Return the sample ``index``, or its augmentation for a pair ``(epoch, index)``, as tensors."""
        return {name: value[0] for name, value in cast(dict[str, Tensor], self.batch([key])).items()}

    def batch(self, keys: Sequence[Key], memory: Tensor | None = None) -> Batch:
        """Return the samples of one batch.

        Args:
            keys: of the samples.
            memory: uint8 ``(nbytes(len(keys)),)`` or more, in which image and foreground are put; new if not given.

        Returns:
            The batch, image uint8. Where no sample of the split has a foreground, it is one element, expanded.
        """
        size, side = len(keys), self.pipeline.image_size
        memory = torch.empty(self.nbytes(size), dtype=torch.uint8) if memory is None else memory
        image, foreground = image_and_foreground(memory, size, self.channels, side)
        for position, key in enumerate(keys):
            transformed = self.transformed(key)
            image[position] = transformed[:3]
            if self.channels == 4:
                torch.ge(transformed[3:], HALF, out=foreground[position])
        rows = np.array([key[1] if isinstance(key, tuple) else key for key in keys], np.int64)
        columns = {name: torch.from_numpy(getattr(self, name)[rows]) for name in COLUMNS}
        return cast(Batch, {"image": image, "foreground": foreground, **columns, "index": torch.from_numpy(rows)})

    def nbytes(self, size: int) -> int:
        """Return how many bytes the pixels of a batch of ``size`` samples take."""
        return size * self.channels * self.pipeline.image_size**2

    def transformed(self, key: Key) -> Tensor:
        """Return a sample's pixels after its transform, uint8 ``(4, S, S)``, see :meth:`Pixels.read`."""
        if isinstance(key, tuple):
            epoch, index = key
            return self.pipeline.augment(self.trainable.read(index), epoch, index)
        if self.evaluated is not None:
            return self.evaluated.read(key)
        return self.pipeline.evaluate(self.pixels.read(key))


def image_and_foreground(memory: Tensor, size: int, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Return views on the memory of a batch: image uint8 ``(B, 3, S, S)`` and, behind it, foreground bool."""
    area = size * side**2
    image = memory[: 3 * area].view(size, 3, side, side)
    if channels == 3:
        return image, torch.zeros((), dtype=torch.bool).expand(size, 1, side, side)
    return image, memory[3 * area : 4 * area].view(torch.bool).view(size, 1, side, side)
