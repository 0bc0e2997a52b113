"""Area loss and its schedule, and exactness over ranks."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from maskexp.masking import active_fractions, annealed_target, area_loss
from tests.distributed import run_ranks


def test_target_falls_linearly_and_stays() -> None:
    values = [annealed_target(epoch, 0.35, 10) for epoch in (0, 1, 5, 10, 11)]
    assert values == pytest.approx([1.0, 0.935, 0.675, 0.35, 0.35])


def test_without_annealing_the_target_holds_from_the_start() -> None:
    assert annealed_target(0, 0.25, 0) == 0.25


def test_area_loss_and_its_gradient() -> None:
    mask = torch.zeros(1, 1, 2, 2)
    mask[0, 0, 0] = 1
    mask.requires_grad_()
    loss = 6 * area_loss([mask], 0.35)
    assert loss.item() == pytest.approx(0.135)
    loss.backward()
    # d loss / d r = 2 λ (r - τ), and each of the four positions is a quarter of r.
    torch.testing.assert_close(mask.grad, torch.full_like(mask, 2 * 6 * (0.5 - 0.35) / 4))


def test_below_the_target_the_gradient_turns() -> None:
    mask = torch.zeros(1, 1, 2, 2, requires_grad=True)
    area_loss([mask], 0.35).backward()
    assert (mask.grad < 0).all()  # type: ignore[operator]


def test_stages_are_summed() -> None:
    full, half = torch.ones(1, 1, 4, 4), torch.tensor([[[[1.0, 0.0]]]])
    assert area_loss([full, half], 0.5).item() == pytest.approx(0.25)


def _loss_and_gradient(rank: int, world_size: int) -> tuple[float, Tensor]:
    masks = torch.arange(16.0).view(4, 1, 2, 2) / 16
    local = masks[rank * 2 : rank * 2 + 2].clone().requires_grad_()
    loss = (active_fractions([local])[0] - 0.1) ** 2
    loss.backward()
    return loss.item(), local.grad / world_size  # as DDP averages gradients over ranks


def test_two_ranks_give_the_loss_and_the_gradient_of_one_process() -> None:
    whole = (torch.arange(16.0).view(4, 1, 2, 2) / 16).requires_grad_()
    loss = (active_fractions([whole])[0] - 0.1) ** 2
    loss.backward()
    results = run_ranks(_loss_and_gradient, 2)
    assert [value for value, _ in results] == pytest.approx([loss.item()] * 2)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in results]), whole.grad)


def _count_of_exchanges(rank: int, world_size: int) -> tuple[int, list[float]]:
    exchange, calls = dist.all_reduce, list[int]()

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return exchange(*args, **options)

    with patch.object(dist, "all_reduce", counted):
        shares = active_fractions([torch.full((1, 1, 2, 2), float(rank)), torch.ones(1, 1, 3, 3)])
    return len(calls), shares.tolist()


@pytest.mark.slow
def test_all_masks_take_one_exchange_between_ranks() -> None:
    assert run_ranks(_count_of_exchanges, 2) == [(1, [0.5, 1.0])] * 2
