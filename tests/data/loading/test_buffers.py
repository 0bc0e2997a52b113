from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from maskexp.data.loading import batches
from maskexp.data.loading.batches import HEADER, KEPT, BatchBuffers, borrow


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "get_worker_info", lambda: SimpleNamespace(id=0))


def same_memory(first: Tensor, second: Tensor) -> bool:
    return first.data_ptr() == second.data_ptr()


def test_a_buffer_is_used_again_when_nothing_on_it_is_left() -> None:
    pool = BatchBuffers()
    buffer = pool.acquire(100)
    assert buffer.untyped_storage().is_shared()
    content = borrow(buffer)
    part = content[10:20].view(2, 5)

    assert not same_memory(pool.acquire(100), buffer)
    del content
    gc.collect()
    assert not same_memory(pool.acquire(100), buffer), "a part is looked at still"
    del part
    assert same_memory(pool.acquire(90), buffer), "a smaller batch finds room too"


def test_content_lies_behind_the_header_and_both_sides_see_it() -> None:
    buffer = BatchBuffers().acquire(8)
    buffer[HEADER:] = torch.arange(8, dtype=torch.uint8)

    content = borrow(buffer)
    assert content.tolist() == list(range(8))
    content[3] = 77
    assert buffer[HEADER + 3] == 77
    assert buffer[0] == 1


def test_a_larger_batch_gets_a_larger_buffer_and_a_free_small_one_is_given_up() -> None:
    pool = BatchBuffers()
    small = pool.acquire(10)
    content = borrow(small)
    del content

    assert len(pool.acquire(1000)) >= HEADER + 1000
    assert all(len(kept) >= HEADER + 1000 for kept in pool._kept)


def test_only_so_many_are_kept() -> None:
    pool = BatchBuffers()

    taken = [pool.acquire(10) for _ in range(3 * KEPT)]

    assert len({buffer.data_ptr() for buffer in taken}) == 3 * KEPT
    assert len(pool._kept) == KEPT


def test_the_main_process_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "get_worker_info", lambda: None)
    pool = BatchBuffers()

    assert not pool.acquire(10).untyped_storage().is_shared()
    first, second = pool.acquire(10), pool.acquire(10)
    assert not same_memory(first, second)
