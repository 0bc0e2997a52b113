from __future__ import annotations

from itertools import chain

import pytest

from maskexp.data.errors import DataError
from maskexp.data.loading.samplers import EpochSampler, ShardSampler

SIZES, RANKS = (5, 6, 7), (1, 2, 3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("world_size", RANKS)
def test_evaluation_sees_every_sample_once(size: int, world_size: int) -> None:
    shards = [ShardSampler(size, rank, world_size) for rank in range(world_size)]

    assert sorted(chain(*shards)) == list(range(size))
    assert [len(shard) for shard in shards] == [len(list(shard)) for shard in shards]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_evaluation_in_order() -> None:
    assert list(ShardSampler(5)) == [0, 1, 2, 3, 4]
    assert list(ShardSampler(5, 1, 2)) == [1, 3]


def test_more_ranks_than_samples() -> None:
    with pytest.raises(DataError, match="2 samples cannot be dealt out to 3 processes"):
        ShardSampler(2, 0, 3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("world_size", RANKS)
def test_training_sees_every_sample_on_equal_shards(size: int, world_size: int) -> None:
    shards = [list(EpochSampler(size, 0, rank, world_size)) for rank in range(world_size)]
    seen = [index for _, index in chain(*shards)]

    assert {len(shard) for shard in shards} == {-(-size // world_size)}
    assert set(seen) == set(range(size))
    assert len(seen) - size < world_size  # as few repetitions as equal shards allow


def test_training_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, int]]:
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 3) == order(0, 3)
    assert [epoch for epoch, _ in order(0, 3)] == [3] * 20
    orders = [tuple(index for _, index in order(seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len(set(orders)) == 4


def test_shards_of_training_are_dealt_from_one_order() -> None:
    whole = [index for _, index in EpochSampler(6, 4)]

    assert [index for _, index in EpochSampler(6, 4, 1, 2)] == whole[1::2]


def test_an_interrupted_epoch_goes_on_behind_what_was_seen_and_the_next_one_is_whole() -> None:
    whole = EpochSampler(7, 3, 1, 2)
    resumed = EpochSampler(7, 3, 1, 2)
    resumed.skip(2, 3)
    for sampler in (whole, resumed):
        sampler.set_epoch(2)
    assert list(resumed) == list(whole)[3:]
    assert len(resumed) == len(whole)
    for sampler in (whole, resumed):
        sampler.set_epoch(3)
    assert list(resumed) == list(whole)
