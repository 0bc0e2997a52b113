"""Whole batches from a data set, written once into the memory that the loader's processes share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from maskexp.data.dataset import THRESHOLD, Key, ManifestDataset
from maskexp.types import Batch

__all__ = ["BatchReader", "finished"]


class BatchReader(Dataset[dict[str, Any]]):
    """What a loader reads from: the samples of a data set, but a batch at a time.

    A batch is what PyTorch's ``default_collate`` makes of the samples, without a tensor for each of them in between.
    Where no sample of the split has a foreground, that of the batch is one element, expanded.

    Args:
        samples: the data set.
    """

    def __init__(self, samples: ManifestDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Return one sample, as the data set does."""
        return self.samples[key]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Return the samples of one batch; a loader needs :func:`finished` as its ``collate_fn``."""
        samples, side = self.samples, self.samples.evaluation.image_size
        image = _empty((len(keys), 3, side, side), torch.uint8)
        foreground = torch.zeros((), dtype=torch.bool).expand(len(keys), 1, side, side)
        if samples.has_foreground.any():
            foreground = _empty((len(keys), 1, side, side), torch.bool)
        for position, key in enumerate(keys):
            moved = samples.moved(key)
            image[position] = moved[:3]
            if samples.has_foreground.any():
                torch.ge(moved[3:], THRESHOLD, out=foreground[position])
        rows = np.array([key[1] if isinstance(key, tuple) else key for key in keys], np.int64)
        return {
            "image": image,
            "label": torch.from_numpy(samples.label[rows]),
            "attribute": torch.from_numpy(samples.attribute[rows]),
            "group": torch.from_numpy(samples.group[rows]),
            "foreground": foreground,
            "has_foreground": torch.from_numpy(samples.has_foreground[rows]),
            "index": torch.from_numpy(rows),
        }


def finished(batch: Any) -> Any:
    """Return the batch: :class:`BatchReader` has put it together already."""
    return batch


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor for one byte per element; in a loader's process in memory that its main process sees."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    # As default_collate does: what is not shared is copied on its way, which takes longer than to resize it.
    shared = torch.empty(0, dtype=torch.uint8)
    shared.set_(torch.UntypedStorage._new_shared(math.prod(shape)), 0, (math.prod(shape),))  # type: ignore[call-overload, no-untyped-call]
    return shared.view(shape).view(dtype)
