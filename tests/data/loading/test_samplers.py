from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from maskexp.data.errors import DataError
from maskexp.data.loading.samplers import EpochSampler, GroupBalancedSampler, RepeatingSampler, ShardSampler

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


GROUPS = np.array([0] * 90 + [1] * 7 + [2] * 2 + [-1] + [3] * 20)
NAMES = ("a/x", "a/y", "b/x", "b/y")


def test_balanced_groups_come_equally_often_and_their_images_too() -> None:
    drawn: list[int] = []
    sampler = GroupBalancedSampler(GROUPS, NAMES, 3)
    for epoch in range(200):
        sampler.set_epoch(epoch)
        drawn += [index for _, index in sampler]
    assert len(drawn) == 200 * len(GROUPS)
    shares = np.bincount(GROUPS[drawn], minlength=4) / len(drawn)
    assert GROUPS[drawn].min() == 0, "an image without a group is never drawn"
    np.testing.assert_allclose(shares, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / len(drawn)))
    images = np.bincount(drawn, minlength=len(GROUPS))
    for group, size in enumerate((90, 7, 2, 20)):
        expected = len(drawn) / 4 / size
        np.testing.assert_allclose(images[group == GROUPS], expected, atol=5 * np.sqrt(expected))


def test_every_time_an_image_is_drawn_it_is_augmented_in_another_way() -> None:
    keys = []
    for sampler in (GroupBalancedSampler(GROUPS, NAMES), RepeatingSampler(np.array([1, 5, 2]))):
        for epoch in range(3):
            sampler.set_epoch(epoch)
            keys += [(type(sampler), *key) for key in sampler]
    assert len(set(keys)) == len(keys)


def test_balanced_draws_are_dealt_from_one_order_and_resume_in_its_middle() -> None:
    whole = list(GroupBalancedSampler(GROUPS, NAMES, 4))
    shards = [list(GroupBalancedSampler(GROUPS, NAMES, 4, rank, 2)) for rank in range(2)]
    assert [shards[0], shards[1]] == [whole[0::2], whole[1::2]]
    resumed = GroupBalancedSampler(GROUPS, NAMES, 4, 1, 2)
    resumed.skip(0, 7)
    assert list(resumed) == shards[1][7:]


def test_balanced_draws_are_a_function_of_seed_and_epoch() -> None:
    orders = set()
    for seed in range(2):
        for epoch in range(2):
            sampler = GroupBalancedSampler(GROUPS, NAMES, seed)
            sampler.set_epoch(epoch)
            assert list(sampler) == list(sampler)
            orders.add(tuple(index for _, index in sampler))
    assert len(orders) == 4


def test_groups_that_cannot_be_balanced_are_named() -> None:
    with pytest.raises(DataError, match="no training image in the group b/y; omit it"):
        GroupBalancedSampler(GROUPS[GROUPS < 3], NAMES)
    with pytest.raises(DataError, match="the data has no groups"):
        GroupBalancedSampler(np.full(4, -1), ())


def test_repeated_images_come_as_often_as_asked_on_equal_shards() -> None:
    repeats = np.array([1, 3, 0, 2])
    assert sorted(index for _, index in RepeatingSampler(repeats)) == [0, 1, 1, 1, 3, 3]
    shards = [[index for _, index in RepeatingSampler(repeats, 0, rank, 4)] for rank in range(4)]
    assert {len(shard) for shard in shards} == {2}
    assert set(chain(*shards)) == {0, 1, 3}
