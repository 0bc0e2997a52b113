"""Neighbour padding of layer masking (Balasubramanian & Feizi, ICCV 2023)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.inputs import neighbour_padding
from maskexp.masking.inputs.neighbours import Plans


def _centre(value: float) -> tuple[Tensor, Tensor]:
    features = torch.full((1, 1, 5, 5), torch.nan)
    features[0, 0, 2, 2] = value
    return features, ~features.isnan()


def test_one_visible_pixel_spreads_ring_by_ring() -> None:
    features, visible = _centre(9.0)
    assert torch.equal(neighbour_padding(features, visible, 0), torch.where(visible, features, 0))
    one, two = neighbour_padding(features, visible, 1), neighbour_padding(features, visible, 2)
    assert (one != 0).sum() == 9
    assert one[0, 0, 1, 1].item() == pytest.approx(9 / (1 + 1e-5), abs=1e-5)
    assert (two != 0).all()
    assert two[0, 0, 0, 0].item() == pytest.approx(9 / (1 + 1e-5) ** 2, abs=1e-5)
    assert torch.equal(neighbour_padding(features, visible, 3), two)


def test_a_hidden_pixel_takes_the_mean_of_its_visible_neighbours() -> None:
    features = torch.tensor([[[[1.0, torch.nan, 5.0], [torch.nan, torch.nan, torch.nan], [3.0, torch.nan, torch.nan]]]])
    visible = ~features.isnan()
    expected = torch.tensor([[[[1.0, 3.0, 5.0], [2.0, 3.0, 5.0], [3.0, 3.0, 0.0]]]])
    torch.testing.assert_close(neighbour_padding(features, visible, 1), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (7, 1), (3, 2), (2, 1)])
def test_no_convolution_sees_further_than_its_width_less_one(kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    features, weight = torch.randn(1, 4, 32, 32), torch.randn(8, 4, kernel, kernel)
    visible = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    visible[..., 12:17, 14:19] = True
    reach = dilation * (kernel - 1)
    seen = F.max_pool2d(visible.float(), kernel, 1, kernel // 2, dilation) if dilation == 1 else None
    if seen is None:
        seen = F.max_pool2d(F.pad(visible.float(), (dilation,) * 4), kernel, 1, 0, dilation)

    def masked(rings: int) -> Tensor:
        padded = neighbour_padding(features, visible, rings)
        return F.conv2d(padded, weight, padding=dilation * (kernel // 2), dilation=dilation) * seen

    assert torch.equal(masked(reach), masked(reach + 1))
    assert not torch.equal(masked(reach), masked(reach - 1))


def test_the_fill_has_no_gradient_and_stays_where_it_may() -> None:
    features, visible = _centre(9.0)
    features.requires_grad_()
    neighbour_padding(features, visible, 1).sum().backward()
    assert torch.equal(features.grad, visible.float())
    fillable = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    fillable[..., 3:] = False
    padded = neighbour_padding(features, visible, 2, fillable)
    assert (padded[..., 3:] == 0).all()
    assert (padded[..., :3] != 0).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("limited", [False, True])
def test_the_fast_way_of_a_cpu_is_the_plain_one(layout: torch.memory_format, limited: bool) -> None:
    """In half precision the sums run over all windows."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randint(-3, 4, (3, 5, 11, 9), generator=generator).float().contiguous(memory_format=layout)
    visible = torch.rand(3, 1, 11, 9, generator=generator) < 0.2
    visible[2, :, :, :7] = False
    fillable = torch.rand(1, 1, 11, 9, generator=generator) < 0.8 if limited else None
    for rings in range(1, 5):
        for keep in (False, True):
            before = features.clone()
            fast = neighbour_padding(features, visible, rings, fillable, keep=keep)
            assert torch.equal(features, before)
            slow = neighbour_padding(features.half(), visible, rings, fillable, keep=keep)
            torch.testing.assert_close(fast, slow.float(), atol=0.01, rtol=0.01)
    reused = neighbour_padding(features.clone(), visible, 2, fillable, in_place=True)
    assert torch.equal(reused, neighbour_padding(features, visible, 2, fillable))


def test_a_gradient_flows_to_all_but_the_fill() -> None:
    features, visible = torch.rand(1, 1, 5, 5, requires_grad=True), torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    visible[..., 2, 2] = True
    fillable = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    fillable[..., 3:] = False
    neighbour_padding(features, visible, 1, fillable, keep=True).sum().backward()
    assert torch.equal(features.grad, (visible | ~fillable).float())


def test_what_is_known_of_a_mask_is_used_for_it_alone() -> None:
    """Masks that are gone leave their identity to others."""
    generator = torch.Generator().manual_seed(0)
    plans: Plans = {}
    for number in range(40):
        features = torch.rand(2, 3, 7, 8, generator=generator)
        visible = torch.rand(2, 1, 7, 8, generator=generator) < (1.1 if number % 3 == 0 else 0.3)
        fillable = torch.rand(1, 1, 7, 8, generator=generator) < 0.8 if number % 2 else None
        for rings, keep in ((1, False), (2, False), (2, True)):
            expected = neighbour_padding(features, visible, rings, fillable, keep=keep)
            for _ in range(2):
                found = neighbour_padding(features, visible, rings, fillable, keep=keep, plans=plans)
                assert torch.equal(found, expected)
