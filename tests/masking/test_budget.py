"""The MAC budget of DynConv, and exactness over ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.masking import PositionMACs, block_bounds_loss, budget_bounds, mac_shares, network_budget_loss
from tests.distributed import run_ranks


@pytest.mark.parametrize(
    ("epoch", "lower", "upper"),
    [(0, 0.25, 0.25), (10, 0.1975, 0.4075), (16.5, 0.125, 0.625), (33, 0.0, 1.0), (90, 0.0, 1.0)],
)
def test_bounds_of_the_released_code(epoch: int, lower: float, upper: float) -> None:
    assert budget_bounds(epoch, 100, 0.25) == pytest.approx((lower, upper), abs=5e-5)


def active(count: int, shape: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(shape).flatten()
    mask[:count] = 1
    return mask.view(shape)


def test_share_of_one_basic_block() -> None:
    macs = 16 * 16 * 9
    shares, share = mac_shares(
        [active(32, (4, 1, 8, 8))], [active(100, (4, 1, 8, 8))], [PositionMACs(dilated=macs, mask=macs)]
    )
    assert shares.tolist() == pytest.approx([132 / 512])
    assert share.item() == pytest.approx(132 / 512)


def test_the_network_s_share_counts_macs_and_the_blocks_losses_count_blocks() -> None:
    masks = [active(16, (1, 1, 4, 4)), active(0, (1, 1, 2, 2))]
    dilated = [active(0, (1, 1, 8, 8)), active(4, (1, 1, 2, 2))]
    shares, share = mac_shares(masks, dilated, [PositionMACs(10, 30), PositionMACs(100, 0)])
    assert shares.tolist() == pytest.approx([480 / 1120, 1.0])
    assert share.item() == pytest.approx((480 + 400) / (1120 + 400))
    loss = block_bounds_loss(torch.tensor([0.1, 0.5, 0.9]), 0.3, 0.6)
    assert loss.item() == pytest.approx((0.2**2 + 0.3**2) / 3)
    assert network_budget_loss(torch.tensor(0.5), 0.3).item() == pytest.approx(0.04)


def test_gradient_reaches_the_masks_and_not_the_dilated_ones() -> None:
    masks, dilated = torch.rand(2, 1, 4, 4, requires_grad=True), torch.rand(2, 1, 4, 4, requires_grad=True)
    _, share = mac_shares([masks], [dilated], [PositionMACs(5, 7)])
    network_budget_loss(share, 0.0).backward()
    assert (masks.grad > 0).all()  # type: ignore[operator]
    assert dilated.grad is None


def _share_and_gradient(rank: int, world_size: int) -> tuple[float, Tensor]:
    masks = torch.arange(16.0).view(4, 1, 2, 2) / 16
    local = masks[rank * 2 : rank * 2 + 2].clone().requires_grad_()
    _, share = mac_shares([local], [local], [PositionMACs(5, 7)])
    network_budget_loss(share, 0.1).backward()
    return share.item(), local.grad / world_size  # as DDP averages gradients over ranks


@pytest.mark.slow
def test_two_ranks_give_the_share_and_the_gradient_of_one_process() -> None:
    whole = (torch.arange(16.0).view(4, 1, 2, 2) / 16).requires_grad_()
    _, share = mac_shares([whole], [whole], [PositionMACs(5, 7)])
    network_budget_loss(share, 0.1).backward()
    results = run_ranks(_share_and_gradient, 2)
    assert [value for value, _ in results] == pytest.approx([share.item()] * 2)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in results]), whole.grad)
