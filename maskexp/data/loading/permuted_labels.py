"""Randomly permuted labels: the sanity check whether an explanation depends on what there is to be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskexp.data.manifest.table import ManifestTable

__all__ = ["permute_labels"]


def permute_labels(table: ManifestTable, seed: int) -> ManifestTable:
    """Return the table with the labels of each split permuted among its images.

    Each split keeps as many images of each class as it has, and all else is as it was; groups follow the new labels.

    Source:
        COMET-DR (Zhang et al., ECCV 2024); the released code permutes every split it loads, with another generator.
    """
    rows = []
    for number, split in enumerate(table.splits):
        members = table.split(split)
        order = np.random.default_rng((seed, number)).permutation(len(members))
        rows += [replace(row, label=members[other].label) for row, other in zip(members, order, strict=True)]
    note = (
        f"the labels of each split are randomly permuted among its images (seed {seed}): there is nothing to be learned"
    )
    return ManifestTable(replace(table.card, notes=(*table.card.notes, note)), rows)
