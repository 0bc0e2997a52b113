"""Positions that a convolution reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskexp.masking import convolved_size, dilate_mask


def test_a_single_position_becomes_a_square() -> None:
    mask = torch.zeros(1, 1, 5, 5)
    mask[0, 0, 2, 3] = 1
    expected = torch.zeros(1, 1, 5, 5)
    expected[0, 0, 1:4, 2:5] = 1
    assert torch.equal(dilate_mask(mask, nn.Conv2d(1, 1, 3, padding=1), (5, 5)), expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 7)])
def test_with_a_stride_the_square_lies_around_the_cell_s_first_corner(size: tuple[int, int]) -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 1, 2] = 1
    expected = torch.zeros(1, 1, *size)
    expected[0, 0, 1:4, 3:6] = 1
    assert torch.equal(dilate_mask(mask, nn.Conv2d(1, 1, 3, stride=2, padding=1), size), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 5, "padding": 2, "stride": 3},
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_it_is_what_the_active_outputs_depend_on(options: dict[str, int], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, bias=False, **options)  # type: ignore[arg-type]
    features = torch.randn(2, 1, *size, requires_grad=True)
    output = conv(features)
    assert output.shape[-2:] == convolved_size(size, conv)
    mask = (torch.rand_like(output) < 0.2).float()
    (gradient,) = torch.autograd.grad((output * mask * torch.rand_like(output)).sum(), features)
    assert torch.equal(dilate_mask(mask, conv, size), (gradient != 0).float())


def test_no_gradient_passes() -> None:
    mask = torch.rand(1, 1, 4, 4, requires_grad=True)
    assert not dilate_mask(mask, nn.Conv2d(1, 1, 3, padding=1), (4, 4)).requires_grad
