from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from maskexp.data.loading.batches import BatchReader, collate
from maskexp.data.loading.dataset import ManifestDataset
from maskexp.data.loading.pixels import MemoryPixels
from maskexp.types import Batch
from tests.data.loading.test_dataset import make


def without_foreground() -> ManifestDataset:
    dataset = make()
    assert isinstance(dataset.pixels, MemoryPixels)
    pixels = MemoryPixels(dataset.pixels.values, with_foreground=False)
    return ManifestDataset(dataset.table, "train", pixels, dataset.pipeline)


def same(first: Batch, second: Batch) -> bool:
    """Compare values, types and order of the keys that matter: all."""
    assert set(first) == set(second) == set(Batch.__annotations__)
    return all(
        torch.equal(first[key], second[key]) and first[key].dtype == second[key].dtype  # type: ignore[literal-required]
        for key in first
    )


@pytest.mark.parametrize("with_foreground", [True, False])
def test_batch_is_what_collating_the_samples_gives(with_foreground: bool) -> None:
    dataset = make() if with_foreground else without_foreground()
    reader = BatchReader(dataset)

    for keys in ([3, 0, 5], [(1, 4), (2, 4), (1, 0)]):
        assert same(reader.__getitems__(keys), default_collate([dataset[key] for key in keys]))
    assert len(reader) == len(dataset)
    assert reader[2]["index"] == 2


@pytest.mark.parametrize("with_foreground", [True, False])
def test_batches_that_are_kept_are_not_written_over(with_foreground: bool) -> None:
    dataset = make() if with_foreground else without_foreground()
    keys = [(epoch, index) for epoch in range(10) for index in range(12)]
    expected = [BatchReader(dataset).__getitems__(keys[start : start + 5]) for start in range(0, 120, 5)]

    loader = DataLoader(
        BatchReader(dataset),
        batch_size=5,
        sampler=keys,
        num_workers=1,
        collate_fn=collate,
    )
    kept = list(loader)

    assert all(same(*pair) for pair in zip(expected, kept, strict=True))
    for before, passing in zip(expected, loader, strict=True):  # buffers are used again here
        assert same(before, passing)
        assert passing["image"].is_contiguous()
