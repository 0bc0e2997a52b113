from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maskexp.data.loading.dataset import ManifestDataset
from maskexp.data.loading.pixels import MemoryPixels
from maskexp.data.loading.samplers import EpochSampler
from maskexp.data.manifest.table import Card, ManifestTable, Row
from maskexp.data.transforms import TrainTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.types import Batch

CARD = Card("noise", "v1", ("wren", "heron"), ("land", "water"), mask_kind="soft")


def make(size: int = 12, rotation: float = 0.0) -> ManifestDataset:
    """Noise whose foreground is its red channel."""
    rows = [Row(f"{i:02d}", "train", i % 2, attribute=i % 3 - 1, flags="odd" if i % 2 else "") for i in range(size)]
    values = np.random.default_rng(0).integers(0, 256, (size, 4, 30, 40), np.uint8)
    values[:, 3] = values[:, 0]
    pipeline = Pipeline(24, 0, TrainTransform((0.4, 0.9), rotation=rotation))
    return ManifestDataset(ManifestTable(CARD, rows), "train", MemoryPixels(values), pipeline)


def test_columns() -> None:
    dataset = make(6)

    assert list(dataset.ids) == ["00", "01", "02", "03", "04", "05"]
    assert isinstance(dataset.ids[0], str)
    assert dataset.label.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.attribute.tolist() == [-1, 0, 1, -1, 0, 1]
    assert dataset.group.tolist() == [-1, 2, 1, -1, 0, 3]
    assert dataset.group_counts().tolist() == [1, 1, 1, 1]
    assert dataset.flags.tolist() == ["", "odd"] * 3
    assert len(dataset) == 6


def test_sample_has_the_keys_and_types_of_a_batch() -> None:
    sample = make()[5]

    assert set(sample) == set(Batch.__annotations__)
    assert (sample["image"].dtype, sample["image"].shape) == (torch.uint8, (3, 24, 24))
    assert (sample["foreground"].dtype, sample["foreground"].shape) == (torch.bool, (1, 24, 24))
    assert {key: sample[key] for key in ("label", "attribute", "group", "has_foreground", "index")} == {
        "label": 1,
        "attribute": 1,
        "group": 3,
        "has_foreground": True,
        "index": 5,
    }


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_foreground_is_the_soft_mask_at_one_half_after_any_geometry(rotation: float) -> None:
    dataset = make(rotation=rotation)

    for key in [*range(12), *((epoch, index) for epoch in range(3) for index in range(12))]:
        sample = dataset[key]
        assert torch.equal(sample["foreground"][0], sample["image"][0] >= 128)


def test_pair_is_augmented_and_index_is_not() -> None:
    dataset = make()

    assert torch.equal(dataset[3]["image"], dataset[3]["image"])
    assert torch.equal(dataset[1, 3]["image"], dataset[1, 3]["image"])
    assert not torch.equal(dataset[1, 3]["image"], dataset[2, 3]["image"])
    assert not torch.equal(dataset[1, 3]["image"], dataset[3]["image"])
    assert dataset[1, 3]["index"] == 3


def epoch_of(num_workers: int, context: str | None) -> list[dict[str, Any]]:
    sampler = EpochSampler(12, 0)
    sampler.set_epoch(2)
    loader = DataLoader(make(), batch_size=5, sampler=sampler, num_workers=num_workers, multiprocessing_context=context)
    return list(loader)


@pytest.mark.parametrize(
    ("num_workers", "context"),
    [(1, "fork"), (2, "fork"), (3, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow)],
)
def test_workers_do_not_change_what_is_loaded(num_workers: int, context: str) -> None:
    expected = epoch_of(0, None)

    found = epoch_of(num_workers, context)

    assert [len(batch["image"]) for batch in found] == [5, 5, 2]
    for batch, other in zip(expected, found, strict=True):
        assert {key: value.dtype for key, value in batch.items()} == {key: value.dtype for key, value in other.items()}
        assert all(torch.equal(batch[key], other[key]) for key in batch)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_do_not_change_the_augmentation(world_size: int) -> None:
    dataset = make()
    alone = {index: dataset[key]["image"] for key in EpochSampler(12, 0) for index in [key[1]]}

    for rank in range(world_size):
        for key in EpochSampler(12, 0, rank, world_size):
            assert torch.equal(dataset[key]["image"], alone[key[1]])
