"""Which sample goes to which rank, and in which order.

Both are ``DistributedSampler`` by type, because that is what Lightning looks at: it leaves them in place even where a
trainer runs with ``use_distributed_sampler=True``, its default.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler

from maskexp.data.errors import DataError

__all__ = ["EpochSampler", "ShardSampler"]


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffle for training and yield ``(epoch, index)``, so that the data set can augment by epoch.

    The order is a pure function of (seed, epoch). All ranks get equally many samples, as the steps of training
    demand; where the size does not divide, the first samples of the order are seen twice.

    Args:
        size: number of samples of the split.
        seed: of the order.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, size: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(range(size), world_size, rank, seed=seed)  # type: ignore[arg-type]
        self.size, self.world_size = size, world_size
        self._skipped = (-1, 0)

    def skip(self, epoch: int, count: int) -> None:
        """Leave out this rank's first ``count`` samples of ``epoch``: an interrupted training has seen them."""
        self._skipped = (epoch, count)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``; the Lightning trainer calls it before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield this rank's pairs of the current epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        padded = np.resize(order, len(self) * self.world_size)
        first = self._skipped[1] if self._skipped[0] == self.epoch else 0
        return iter([(self.epoch, int(index)) for index in padded[self.rank :: self.world_size][first:]])

    def __len__(self) -> int:
        """Return the number of samples of each rank."""
        return -(-self.size // self.world_size)


class ShardSampler(DistributedSampler[int]):
    """Deal the samples of an evaluation split out to the ranks, in order, none twice.

    PyTorch's ``DistributedSampler`` repeats samples until all ranks have equally many, which falsifies metrics.

    Args:
        size: number of samples of the split.
        rank: this process.
        world_size: number of processes.

    Raises:
        DataError: if a rank would get no sample, on which collective operations would hang.
    """

    def __init__(self, size: int, rank: int = 0, world_size: int = 1) -> None:
        if size < world_size:
            raise DataError(f"{size} samples cannot be dealt out to {world_size} processes; use at most {size}")
        super().__init__(range(size), world_size, rank)  # type: ignore[arg-type]
        self.indices = range(rank, size, world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices."""
        return iter(self.indices)

    def __len__(self) -> int:
        """Return the number of samples of this rank."""
        return len(self.indices)
