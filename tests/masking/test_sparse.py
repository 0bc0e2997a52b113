"""Convolutions at active positions equal dense convolutions there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskexp.masking import ActivePositions, check_sparse, dilate_mask, run_at

KERNELS = [
    {"kernel_size": 1},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 1, "groups": 2},
]


def some(shape: tuple[int, ...], share: float) -> Tensor:
    return (torch.rand(shape[0], 1, *shape[-2:], generator=torch.Generator().manual_seed(3)) < share).float()


@pytest.mark.parametrize("options", KERNELS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_layers_at_active_positions(options: dict[str, int], share: float, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(4, 8, bias=False, **options),  # type: ignore[arg-type]
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
    ).eval()
    features = torch.randn(2, 4, *size)
    dense = layers(features)
    mask = some(dense.shape, share)
    sites = run_at(list(layers), ActivePositions.everywhere(features), mask)
    assert sites.rows.shape == (int(mask.sum()), 6)
    torch.testing.assert_close(sites.dense(), dense * mask)
    torch.testing.assert_close(sites.add_to(dense), dense + dense * mask)


@pytest.mark.parametrize("options", KERNELS)
def test_two_convolutions_with_the_second_one_s_neighbours(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, **options)  # type: ignore[arg-type]
    features = torch.randn(2, 3, 8, 8)
    dense = second(first(features))
    mask = some(dense.shape, 0.2)
    between = run_at([first], ActivePositions.everywhere(features), dilate_mask(mask, second, (8, 8)))
    torch.testing.assert_close(run_at([second], between, mask).dense(), dense * mask)


def test_channels_last_features_are_not_copied() -> None:
    features = torch.randn(2, 4, 5, 5).to(memory_format=torch.channels_last)
    assert ActivePositions.everywhere(features).rows.data_ptr() == features.data_ptr()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)], "a block has a GroupNorm"),
        ([nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)], "a block has a Conv2d"),
        ([nn.BatchNorm2d(4)], "a block does not begin with a convolution"),
        ([nn.Conv2d(4, 4, 3, padding="same")], "a block does not begin with a convolution"),
        ([nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")], "a block does not begin with a convolution"),
    ],
)
def test_layers_that_mix_positions_are_refused(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sparse(layers, "a block")
