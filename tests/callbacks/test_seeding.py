from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from maskexp.callbacks import SeedEpochs


class FakeTrainer:
    def __init__(self, epoch: int, rank: int = 0) -> None:
        self.current_epoch, self.global_rank = epoch, rank
        self.train_dataloader = DataLoader(TensorDataset(torch.zeros(2)))


def draw(seed: int, epoch: int, rank: int = 0) -> list[float]:
    trainer: Any = FakeTrainer(epoch, rank)
    SeedEpochs(seed).on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
    return torch.rand(3).tolist()


def test_draws_depend_on_seed_epoch_and_rank_alone() -> None:
    first = draw(0, 3)
    torch.rand(100)
    assert draw(0, 3) == first
    others = [draw(1, 3), draw(0, 4), draw(0, 3, rank=1), draw(3, 0)]
    assert first not in others
    assert len({tuple(values) for values in others}) == 4


def test_beginning_a_loader_draws_nothing_from_the_global_generator() -> None:
    trainer: Any = FakeTrainer(0)
    SeedEpochs(0).on_train_start(trainer, None)  # type: ignore[arg-type]
    state = torch.get_rng_state()
    iter(trainer.train_dataloader)
    assert torch.equal(torch.get_rng_state(), state)
