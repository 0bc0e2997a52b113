"""Which release of WaterBirds a folder is, and what every output has to say about it.

Group counts are those of group_DRO and WILDS (95 %: train and test), of GALS (100 %: train and test) and of MaskTune's
metadata. Those of validation at 95 % and 100 % are inferred from the generator's rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskexp.data.manifest.table import Row

__all__ = ["INFERRED", "KNOWN_COUNTS", "group_counts", "notes_on"]

KNOWN_COUNTS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "complete95": {"train": (3498, 184, 56, 1057), "val": (467, 466, 133, 133), "test": (2255, 2255, 642, 642)},
    "complete100": {"train": (3694, 0, 0, 1101), "val": (461, 460, 139, 139), "test": (2255, 2255, 642, 642)},
    "masktune_fixed": {"train": (3550, 187, 52, 961), "val": (470, 472, 122, 124), "test": (2255, 2264, 581, 583)},
}
"""Pictures per group (land bird on land, on water, water bird on land, on water) of each published release."""
INFERRED = {"complete95": ("val",), "complete100": ("val",)}
"""Splits whose counts were computed by the generator's rule, not published."""


def group_counts(rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
    """Return the pictures per group of the three official splits."""
    counts = {split: [0, 0, 0, 0] for split in ("train", "val", "test")}
    for row in rows:
        if row.split in counts:
            counts[row.split][2 * row.label + row.attr] += 1
    return {split: tuple(values) for split, values in counts.items()}


def notes_on(rows: Sequence[Row], with_masks: bool) -> list[str]:
    """Return what every output has to say about a folder."""
    rows = [row for row in rows if row.split in ("train", "val", "test")]
    notes, found = [], group_counts(rows)
    if any(train == 0 and val > 0 for train, val in zip(found["train"], found["val"], strict=True)):
        notes.append(
            "training lacks groups that validation holds: selecting a checkpoint by validation worst-group accuracy "
            "uses labels of bias-conflicting pictures"
        )
    mistaken = sum("mislabeled" in row.flags for row in rows)
    if mistaken:
        notes.append(
            f"{mistaken} land birds (Eastern Towhee, Western Meadowlark, Western Wood Pewee) are labelled water bird, "
            "as in the official release; they carry the flag 'mislabeled'"
        )
    without = sum(not row.mask for row in rows) if with_masks else 0
    if without:
        notes.append(f"{without} of {len(rows)} pictures have no segmentation")
    return notes
