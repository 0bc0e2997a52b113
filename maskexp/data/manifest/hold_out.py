"""A validation set for data that has none of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskexp.data.errors import DataError
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts, totals
from maskexp.data.manifest.table import Row

__all__ = ["VALIDATED_ON_TEST", "HeldOutLayout", "hold_out", "stratified"]

VALIDATED_ON_TEST = (
    "val_fraction 0: validation is the test split, so that a checkpoint that was selected by it has seen the test "
    "images"
)


@dataclass(frozen=True, slots=True)
class HeldOutLayout(Layout):
    """A layout without an official validation set: a share of the training images is held out.

    Attributes:
        val_fraction: share of the training images that is held out.
        val_seed: of that draw.
    """

    val_fraction: float
    val_seed: int

    def held_out(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with a validation split, see :func:`hold_out`."""
        return hold_out(rows, self.val_fraction, self.val_seed)

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Warn of a validation that sees the test images."""
        return () if self.val_fraction else (VALIDATED_ON_TEST,)

    def split_counts(self, rows: Sequence[Row]) -> Counts:
        """Return the images of the official splits: those that are held out count as training images."""
        trained = ("train", "val") if self.val_fraction else ("train",)
        return totals(Counter(row.split for row in rows), train=trained, test=("test",))


def hold_out(rows: Sequence[Row], fraction: float, seed: int) -> list[Row]:
    """Make a validation split out of training rows, see :func:`stratified`.

    Args:
        rows: rows of all splits, ``val`` not among them.
        fraction: share of the training rows, in [0, 1). 0 trains on all and validates on a copy of the test rows.
        seed: of the draw.

    Raises:
        DataError: if the fraction is out of range or leaves a split empty.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"val_fraction is {fraction}; it must be in [0, 1)")
    if fraction == 0:
        return [*rows, *(replace(row, split="val") for row in rows if row.split == "test")]
    held = stratified(rows, fraction, seed)
    trained = sum(row.split == "train" for row in rows)
    if not 0 < len(held) < trained:
        raise DataError(f"val_fraction {fraction} holds out {len(held)} of {trained} training images; choose another")
    return [replace(row, split="val") if row.split == "train" and row.id in held else row for row in rows]


def stratified(rows: Sequence[Row], fraction: float, seed: int) -> set[str]:
    """Return the ids of a share of the training rows, drawn by label and attribute.

    Of the n training rows of each class (and attribute) ``round(fraction * n)`` are drawn, from the rows in the order
    of their ids by ``numpy.random.default_rng([seed, label, attribute + 1])``: the same on every machine.
    """
    strata: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in sorted((row for row in rows if row.split == "train"), key=lambda row: row.id):
        strata[row.label, row.attribute].append(row)
    held: set[str] = set()
    for (label, attribute), members in strata.items():
        drawn = np.random.default_rng([seed, label, attribute + 1]).permutation(len(members))
        held.update(members[i].id for i in drawn[: round(fraction * len(members))])
    return held
