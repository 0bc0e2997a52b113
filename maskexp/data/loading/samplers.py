"""Which sample goes to which rank, and in which order.

All are ``DistributedSampler`` by type, because that is what Lightning looks at: it leaves them in place even where a
trainer runs with ``use_distributed_sampler=True``, its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from maskexp.data.errors import DataError

__all__ = ["EpochSampler", "GroupBalancedSampler", "RepeatingSampler", "ShardSampler"]


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffle for training and yield ``(epoch, index)``, so that the data set can augment by epoch.

    The order is a pure function of (seed, epoch). All ranks get equally many samples, as the steps of training
    demand; where the size does not divide, the first samples of the order are seen twice.

    Args:
        size: number of samples that an epoch has.
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

    def order(self) -> NDArray[np.int64]:
        """Return the rows of the current epoch in the order in which all ranks together see them, ``(size,)``."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.size)

    def views(self, count: int) -> NDArray[np.int64]:
        """Return which augmentation is seen at each of ``count`` places in the order: that of the epoch."""
        return np.full(count, self.epoch)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield this rank's pairs of the current epoch."""
        padded = np.resize(self.order(), len(self) * self.world_size)
        first = self._skipped[1] if self._skipped[0] == self.epoch else 0
        mine = slice(self.rank + first * self.world_size, None, self.world_size)
        return zip(self.views(len(padded))[mine].tolist(), padded[mine].tolist(), strict=True)

    def __len__(self) -> int:
        """Return the number of samples of each rank."""
        return -(-self.size // self.world_size)


class _SamplerWithRepetitions(EpochSampler):
    """An epoch in which images come more than once, each time in another augmentation."""

    def views(self, count: int) -> NDArray[np.int64]:
        """Return a number for each place in the order, another one in each epoch."""
        return self.epoch * count + np.arange(count)


class GroupBalancedSampler(_SamplerWithRepetitions):
    """Draw each sample from a group chosen at random, all alike, and then any image of it, with replacement.

    That is drawing with weights that are inverse to the groups' sizes, as the reweighting of Sagawa et al., ICLR 2020,
    does. An epoch has as many samples as the split. Images without a group are never drawn.

    Args:
        groups: ``(N,)`` group of each row, -1 where there is none.
        names: of the groups.
        seed: of the draws.
        rank: this process.
        world_size: number of processes.

    Raises:
        DataError: if there are no groups, or one of them has no image.
    """

    def __init__(
        self, groups: NDArray[np.int64], names: Sequence[str], seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(len(groups), seed, rank, world_size)
        if not names:
            raise DataError(
                "sampling is group_balanced, but the data has no groups; omit it, or choose data with an attribute"
            )
        counts = np.bincount(groups[groups >= 0], minlength=len(names))
        if empty := [name for name, count in zip(names, counts, strict=True) if not count]:
            raise DataError(
                f"sampling is group_balanced, but there is no training image in {_listed(empty)}; omit it, or choose "
                "data in which every group has some"
            )
        self.counts = counts
        self.members = np.argsort(groups, kind="stable")[(groups < 0).sum() :]

    def order(self) -> NDArray[np.int64]:
        """Return the rows of the current epoch in the order in which all ranks together see them, ``(size,)``."""
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = rng.integers(len(self.counts), size=self.size)
        first = np.cumsum(self.counts) - self.counts
        rows: NDArray[np.int64] = self.members[first[drawn] + rng.integers(self.counts[drawn])]
        return rows


class RepeatingSampler(_SamplerWithRepetitions):
    """Shuffle a split in which some images occur more often than once, each time in another augmentation.

    Args:
        repeats: ``(N,)`` how often each row comes in an epoch, at least 0.
        seed: of the order.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, repeats: NDArray[np.int64], seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(int(repeats.sum()), seed, rank, world_size)
        self.rows = np.repeat(np.arange(len(repeats)), repeats)

    def order(self) -> NDArray[np.int64]:
        """Return the rows of the current epoch in the order in which all ranks together see them, ``(size,)``."""
        return self.rows[super().order()]


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


def _listed(names: Sequence[str]) -> str:
    return f"the group {names[0]}" if len(names) == 1 else f"the groups {', '.join(names)}"
