"""Which release of WaterBirds a folder is, and what every output has to say about it.

Group counts are those of group_DRO and WILDS (95 %: train and test), of GALS (100 %: train and test) and of MaskTune's
metadata. Those of validation at 95 % and 100 % are inferred from the generator's rule.
"""

from __future__ import annotations

from collections.abc import Mapping

from maskexp.data.builders.releases import recognise
from maskexp.data.manifest import Card, Row

__all__ = ["KNOWN_COUNTS", "waterbirds_card"]

KNOWN_COUNTS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "complete95": {"train": (3498, 184, 56, 1057), "val": (467, 466, 133, 133), "test": (2255, 2255, 642, 642)},
    "complete100": {"train": (3694, 0, 0, 1101), "val": (461, 460, 139, 139), "test": (2255, 2255, 642, 642)},
    "masktune_fixed": {"train": (3550, 187, 52, 961), "val": (470, 472, 122, 124), "test": (2255, 2264, 581, 583)},
}
"""Pictures per group (land bird on land, on water, water bird on land, on water) of each published release."""


def waterbirds_card(rows: list[Row], with_masks: bool, with_boxes: bool, version: int) -> Card:
    """Describe the release that the rows are."""
    counts = {split: [0, 0, 0, 0] for split in ("train", "val", "test")}
    for row in rows:
        counts[row.split][2 * row.label + row.attr] += 1
    found = {split: tuple(values) for split, values in counts.items()}
    variant, notes = recognise("WaterBirds", found, KNOWN_COUNTS, "group counts")
    return Card(
        name="waterbirds",
        variant=variant,
        classes=("landbird", "waterbird"),
        attributes=("land", "water"),
        mask_kind="soft" if with_masks else "none",
        mask_source="segmentations" if with_masks else "bounding_boxes" if with_boxes else "",
        licence="non-commercial research (CUB-200-2011, Places)",
        notes=(*notes, *_notes(rows, found, with_masks)),
        builder={"name": "waterbirds", "version": version},
    )


def _notes(rows: list[Row], found: Mapping[str, tuple[int, ...]], with_masks: bool) -> list[str]:
    """Return what every output has to say about this folder."""
    notes = []
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
