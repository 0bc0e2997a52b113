"""Batches on their way from a loader's process to the main process, in shared memory that is used over and over.

A fresh piece of shared memory for every batch, which is PyTorch's way, costs the system more than half of what it takes
to fill it: the pages of each are zeroed, mapped and given back.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from maskexp.data.loading.dataset import COLUMNS, Key, ManifestDataset, image_and_foreground
from maskexp.types import Batch

__all__ = ["HEADER", "BatchBuffers", "BatchReader", "borrow", "collate"]

HEADER = 64
"""Bytes before the content; the first says whether a batch lies in the buffer."""
KEPT = 8
"""Buffers of one process that are used again: more batches than wait and are looked at, where none is kept."""


class BatchReader(Dataset[dict[str, Any]]):
    """What a loader reads from: the samples of a data set, but a batch at a time.

    A batch is what PyTorch's ``default_collate`` makes of the samples, without a tensor for each of them in between.

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
        """Return the samples of one batch; a loader needs :func:`collate` as its ``collate_fn``."""
        if get_worker_info() is None:
            return self.samples.batch(keys)
        buffer = self._buffers.acquire(self.samples.nbytes(len(keys)))
        batch = self.samples.batch(keys, buffer[HEADER:])
        shape = (len(keys), self.samples.channels, self.samples.pipeline.image_size)
        columns = {name: batch[name].numpy() for name in (*COLUMNS, "index")}  # type: ignore[literal-required]
        return cast(Batch, _Parcel(buffer, shape, columns))


def collate(batch: Any) -> Any:
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


def _received(buffer: Tensor, shape: tuple[int, int, int], columns: dict[str, NDArray[Any]]) -> Batch:
    image, foreground = image_and_foreground(borrow(buffer), *shape)
    small = {name: torch.from_numpy(column) for name, column in columns.items()}
    return cast(Batch, {"image": image, "foreground": foreground, **small})


class BatchBuffers:
    """The buffers of one process. A buffer is used again when nobody, in any process, holds what was in it."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def acquire(self, size: int) -> Tensor:
        """Return uint8 of at least ``size`` bytes behind a header, to be handed on through :func:`borrow`.

        In the main process, which shares it with nobody, it is ordinary memory.
        """
        if get_worker_info() is None:
            return torch.empty(HEADER + size, dtype=torch.uint8)
        buffer = next((kept for kept in self._kept if not kept[0] and len(kept) >= HEADER + size), None)
        if buffer is None:
            buffer = _shared(HEADER + size)
            wanted = [kept for kept in self._kept if kept[0] or len(kept) >= HEADER + size]
            self._kept = [*wanted[-KEPT + 1 :], buffer]
        buffer[0] = 1
        return buffer


def borrow(buffer: Tensor) -> Tensor:
    """Return the content of a buffer; when the last tensor on it is gone, the buffer is free again."""
    content = buffer.numpy()[HEADER:]
    # The tensor keeps the array alive, and so do all views of the tensor, whatever becomes of the batch.
    weakref.finalize(content, _release, buffer).atexit = False
    return torch.from_numpy(content)


def _release(buffer: Tensor) -> None:
    buffer[0] = 0


def _shared(size: int) -> Tensor:
    """Return uint8 zeros in shared memory, as ``default_collate`` makes them."""
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    shared: Tensor = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (size,))  # type: ignore[call-overload]
    return shared
