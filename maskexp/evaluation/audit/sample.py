"""The images of the audit: a sample of the split that depends on the seed and the rows alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.evaluation.subsets import select
from maskexp.types import Batch

__all__ = ["Sample", "chosen_rows"]

STATES = ("image", "foreground", "label", "attribute", "group", "has_foreground", "index")


def chosen_rows(rows: Iterable[int], images: int, seed: int) -> list[int]:
    """Return the rows of a split that are audited, in their order.

    Each row has a draw of its own, and the lowest draws are taken: however the split is batched, and on however many
    processes, these are the same rows.

    Args:
        rows: of the split.
        images: how many to take; all if there are no more.
        seed: of the draw.

    Example:
        >>> chosen_rows(range(8), 3, seed=0) == chosen_rows(reversed(range(8)), 3, seed=0)
        True
    """
    drawn = sorted((np.random.default_rng([seed, row]).random(), row) for row in rows)
    return sorted(row for _, row in drawn[:images])


class Sample(Metric):
    """Collects the sample from whatever batches and ranks it comes.

    Args:
        images: how many to keep.
        seed: of the draw.
    """

    full_state_update = False

    def __init__(self, images: int, seed: int) -> None:
        super().__init__()
        self.images, self.seed = images, seed
        for name in STATES:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, batch: Batch) -> None:
        """Keep what belongs to the sample, images as bytes."""
        kept = {name: cast(Tensor, value).clone() for name, value in batch.items()}
        kept["image"] = (batch["image"] * 255).round().to(torch.uint8)
        for name in STATES:
            cast(list[Tensor], getattr(self, name)).append(kept[name])
        whole = self._whole()
        if len(whole["index"]) > self.images:
            for name, value in select(whole, self._chosen(whole["index"])).items():
                setattr(self, name, [value])

    def stand_in(self, size: tuple[int, int]) -> None:
        """Take the form of images of the size (height, width) where none was seen.

        Other ranks send theirs to this one, and it has to send a tensor of as many dimensions and the same type.
        """
        if not len(cast(Any, self.index)):
            numbers = torch.zeros(0, dtype=torch.int64, device=self.device)
            shapes = {"image": torch.zeros(0, 3, *size, dtype=torch.uint8, device=self.device)}
            shapes["foreground"] = torch.zeros(0, 1, *size, dtype=torch.bool, device=self.device)
            shapes["has_foreground"] = numbers.bool()
            for name in STATES:
                cast(list[Tensor], getattr(self, name)).append(shapes.get(name, numbers))

    def compute(self) -> Batch | None:
        """Return the sample, image uint8, ordered by row; None if nothing was seen."""
        if not len(cast(Any, self.index)):
            return None
        whole = self._whole()
        if not len(whole["index"]):
            return None
        return select(whole, self._chosen(whole["index"]))

    def _whole(self) -> Batch:
        return cast(Batch, {name: _joined(getattr(self, name)) for name in STATES})

    def _chosen(self, index: Tensor) -> Tensor:
        place = {row: number for number, row in enumerate(index.tolist())}
        return torch.tensor([place[row] for row in chosen_rows(place, self.images, self.seed)], device=index.device)


def _joined(values: Any) -> Tensor:
    return torch.cat(values) if isinstance(values, list) else cast(Tensor, values)
