"""Memory of a loader's process that the main process sees, used over and over.

A fresh piece of shared memory for every batch, which is PyTorch's way, costs the system more than half of what it takes
to fill it: the pages of each are zeroed, mapped and given back.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

__all__ = ["HEADER", "BatchBuffers", "lent"]

HEADER = 64
"""Bytes before the content; the first says whether a batch lies in the buffer."""
KEPT = 8
"""Buffers of one process that are used again: more batches than wait and are looked at, where none is kept."""


class BatchBuffers:
    """The buffers of one process. A buffer is used again when nobody, in any process, holds what was in it."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def take(self, size: int) -> Tensor:
        """Return uint8 of at least ``size`` bytes behind a header, to be handed on through :func:`lent`.

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


def lent(buffer: Tensor) -> Tensor:
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
