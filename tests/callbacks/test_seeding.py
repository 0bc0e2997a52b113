from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from maskexp.callbacks import SeedSteps


class FakeTrainer:
    """As far as seeding looks at one; nothing was trained yet."""

    sanity_checking = False

    def __init__(self, epoch: int, rank: int = 0) -> None:
        self.current_epoch, self.global_rank = epoch, rank
        self.train_dataloader = DataLoader(TensorDataset(torch.zeros(2)))
        self.state = SimpleNamespace(fn="fit")
        count = SimpleNamespace(current=SimpleNamespace(processed=0, ready=0))
        epoch_loop = SimpleNamespace(batch_progress=count)
        self.fit_loop = SimpleNamespace(epoch_progress=count, epoch_loop=epoch_loop, restarted_mid_epoch=False)


def draw(seed: int, epoch: int, step: int = 0, rank: int = 0) -> list[float]:
    trainer: Any = FakeTrainer(epoch, rank)
    if step:
        SeedSteps(seed).on_train_batch_end(trainer, None, None, None, step - 1)  # type: ignore[arg-type]
    else:
        SeedSteps(seed).on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
    return torch.rand(3).tolist()


@pytest.mark.parametrize("step", [0, 2])
def test_draws_depend_on_seed_epoch_step_and_rank_alone(step: int) -> None:
    first = draw(0, 3, step)
    torch.rand(100)
    assert draw(0, 3, step) == first
    others = [draw(1, 3, step), draw(0, 4, step), draw(0, 3, step + 1), draw(0, 3, step, rank=1), draw(3, 0, step)]
    assert first not in others
    assert len({tuple(values) for values in others}) == 5


def test_a_validation_in_the_middle_of_an_epoch_changes_no_draw() -> None:
    undisturbed = draw(0, 1, 2)
    trainer: Any = FakeTrainer(1)
    trainer.fit_loop.epoch_loop.batch_progress.current.ready = 2
    torch.rand(100)
    SeedSteps(0).on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert torch.rand(3).tolist() == undisturbed


def test_beginning_a_loader_draws_nothing_from_the_global_generator() -> None:
    trainer: Any = FakeTrainer(0)
    SeedSteps(0).on_train_start(trainer, None)  # type: ignore[arg-type]
    state = torch.get_rng_state()
    iter(trainer.train_dataloader)
    assert torch.equal(torch.get_rng_state(), state)
