"""Randomly permuted labels, as COMET's sanity check has them: the same images and labels in another order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maskexp.data import SyntheticBirds, WaterBirds
from maskexp.data.loading.permuted_labels import permute_labels
from tests.fixtures import write_waterbirds


def birds(seed: int | None) -> SyntheticBirds:
    return SyntheticBirds(image_size=16, train_size=60, val_size=20, test_size=24, shuffle_labels_seed=seed)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_are_a_permutation_and_images_stay(split: str) -> None:
    before, after = birds(None).dataset(split), birds(1).dataset(split)
    assert Counter(before.label.tolist()) == Counter(after.label.tolist())
    assert not np.array_equal(before.label, after.label)
    assert np.array_equal(before.attribute, after.attribute)
    assert np.array_equal(after.group, after.label * 2 + after.attribute)
    for index in range(len(before)):
        one, two = before[index], after[index]
        assert bool((one["image"] == two["image"]).all())
        assert bool((one["foreground"] == two["foreground"]).all())
        assert two["label"] == after.label[index]


def test_the_seed_decides() -> None:
    labels = [birds(seed).dataset("train").label for seed in (1, 1, 2)]
    assert np.array_equal(labels[0], labels[1])
    assert not np.array_equal(labels[0], labels[2])


def test_every_output_says_so() -> None:
    plain, permuted = birds(None), birds(1)
    assert permuted.digest != plain.digest
    assert permuted.digest != birds(2).digest
    assert "randomly permuted among its images (seed 1)" in permuted.notes[-1]
    assert not plain.notes
    assert sum(permuted.spec.train_group_counts) == 60
    assert permuted.spec.train_group_counts == tuple(permuted.dataset("train").group_counts())


def test_files_of_an_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    root = write_waterbirds(tmp_path / "birds")
    plain, permuted = (WaterBirds(root=str(root), image_size=16, shuffle_labels_seed=seed) for seed in (None, 3))
    before, after = plain.dataset("train"), permuted.dataset("train")
    assert Counter(before.label.tolist()) == Counter(after.label.tolist())
    assert bool((before[0]["image"] == after[0]["image"]).all())


def test_a_split_of_one_class_stays_as_it_is() -> None:
    table = birds(None).table
    alone = type(table)(table.card, [row for row in table.rows if row.label == 0])
    assert permute_labels(alone, 0).rows == alone.rows
