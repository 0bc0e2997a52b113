"""Whole batches from a data set, written once into the memory that the loader's processes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from maskexp.data.loading.buffers import HEADER, BatchBuffers, lent
from maskexp.data.loading.dataset import THRESHOLD, Key, ManifestDataset
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
        self._buffers = BatchBuffers()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Return one sample, as the data set does."""
        return self.samples[key]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Return the samples of one batch; a loader needs :func:`finished` as its ``collate_fn``."""
        samples, side = self.samples, self.samples.evaluation.image_size
        channels = 4 if samples.has_foreground.any() else 3
        rows = np.array([key[1] if isinstance(key, tuple) else key for key in keys], np.int64)
        columns = {name: getattr(samples, name)[rows] for name in ("label", "attribute", "group", "has_foreground")}
        buffer = self._buffers.take(len(keys) * channels * side**2)
        parcel = _Parcel(buffer, (len(keys), channels, side), {**columns, "index": rows})
        batch = parcel.opened(buffer[HEADER:])
        for position, key in enumerate(keys):
            moved = samples.moved(key)
            batch["image"][position] = moved[:3]
            if channels == 4:
                torch.ge(moved[3:], THRESHOLD, out=batch["foreground"][position])
        return batch if get_worker_info() is None else cast(Batch, parcel)


def finished(batch: Any) -> Any:
    """Return the batch: :class:`BatchReader` has put it together already."""
    return batch


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A batch on its way to the main process, where it arrives as the dictionary that it is.

    Pixels go in one buffer, for a tensor each costs a handshake each. The columns go as a copy: who keeps the labels of
    a batch shall not keep its pixels with them.
    """

    buffer: Tensor
    shape: tuple[int, int, int]
    columns: dict[str, NDArray[Any]]

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.buffer, self.shape, self.columns)

    def opened(self, content: Tensor) -> Batch:
        """Return the batch whose images lie one behind the other in ``content``, and the foregrounds behind them."""
        size, channels, side = self.shape
        area = size * side**2
        foreground = torch.zeros((), dtype=torch.bool).expand(size, 1, side, side)
        if channels == 4:
            foreground = content[3 * area : 4 * area].view(torch.bool).view(size, 1, side, side)
        small = {name: torch.from_numpy(column) for name, column in self.columns.items()}
        image = content[: 3 * area].view(size, 3, side, side)
        return cast(Batch, {"image": image, "foreground": foreground, **small})


def _received(buffer: Tensor, shape: tuple[int, int, int], columns: dict[str, NDArray[Any]]) -> Batch:
    return _Parcel(buffer, shape, columns).opened(lent(buffer))
