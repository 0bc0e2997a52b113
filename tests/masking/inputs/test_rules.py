"""How the mask moves through the layers, and the rules against a plain reading of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.masking.inputs import LayerMasking, PartialConvolution, neighbour_padding
from maskexp.masking.inputs.features import MaskedFeatures
from tests.masking.inputs.networks import SIZE, network


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _window(visible: Tensor, *window: int) -> Tensor:
    return F.max_pool2d(visible.float(), *window) > 0


def _visible_behind(made: nn.Module, images: Tensor, visible: Tensor, layers: list[str]) -> list[MaskedFeatures]:
    found: list[MaskedFeatures] = []
    handles = [made.get_submodule(n).register_forward_hook(lambda *_: found.append(_[2])) for n in layers]
    LayerMasking()(made, images, visible)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("name", ["torchvision resnet18", pytest.param("torchvision resnet50", marks=pytest.mark.slow)])
def test_in_a_residual_network_the_mask_grows_in_the_stem_only(name: str) -> None:
    images, visible = torch.rand(2, 3, 128, 128), torch.rand(2, 1, 128, 128) > 0.995
    layers = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    behind = _visible_behind(network(name), images, visible, layers)
    conv1 = _window(visible, 7, 2, 3)
    stem = _window(conv1, 3, 2, 1)
    expected = [conv1, stem, stem, stem[..., ::2, ::2], stem[..., ::4, ::4], stem[..., ::8, ::8]]
    for layer, features, mask in zip(layers, behind, expected, strict=True):
        assert torch.equal(features.visible, mask), layer
        plain = features.zeroed()
        assert (plain.masked_select(~mask) == 0).all(), layer
        assert (plain != 0).any(dim=1, keepdim=True)[mask].all(), layer
    assert expected[-1].float().mean() not in (0, 1)


def _step(x: Tensor, m: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Convolve and normalise as the formulas say, setting hidden positions to zero after each step."""
    x = conv(neighbour_padding(x * m, m > 0, conv.kernel_size[0]))
    m = F.max_pool2d(m, conv.kernel_size, conv.stride, conv.padding)
    return norm(x * m) * m, m


def _by_hand(made: nn.Module, images: Tensor, visible: Tensor) -> Tensor:
    """Run torchvision's ResNet of basic blocks by the published formulas."""
    x, m = _step(images, visible.float(), made.conv1, made.bn1)  # type: ignore[arg-type]
    x, m = F.max_pool2d(x.relu() * m, 3, 2, 1), F.max_pool2d(m, 3, 2, 1)
    for layer in (made.layer1, made.layer2, made.layer3, made.layer4):
        for block in layer:  # type: ignore[union-attr]
            y, n = _step(x, m, block.conv1, block.bn1)
            y, n = _step(y.relu() * n, n, block.conv2, block.bn2)
            if block.downsample is not None:
                x, m = _step(x, m, *block.downsample)
            m = m * n
            x = ((x + y) * m).relu()
    pooled = F.adaptive_avg_pool2d(x, 1) / (F.adaptive_avg_pool2d(m, 1) + 1e-8)
    return made.fc(pooled.flatten(1))  # type: ignore[operator]


def test_agrees_with_the_formulas_step_by_step() -> None:
    images, visible = torch.rand(3, 3, SIZE, SIZE), torch.rand(3, 1, SIZE, SIZE) > 0.5
    visible[1, :, :40] = False
    visible[2, :, :, 7:] = False
    made = network("torchvision resnet18")
    with torch.no_grad():
        expected = _by_hand(made, images, visible)
        torch.testing.assert_close(LayerMasking()(made, images, visible), expected, rtol=1e-4, atol=1e-5)


def _run(made: nn.Module, values: list[list[float]], way: LayerMasking | PartialConvolution | None = None) -> Tensor:
    """Run a layer on one channel; NaN is hidden."""
    image = torch.tensor(values)[None, None]
    with torch.no_grad():
        result: Tensor = (way or LayerMasking())(made.eval(), image, ~image.isnan())
    return result


NAN = float("nan")


def test_partial_convolution_rescales_by_the_visible_fraction() -> None:
    conv = nn.Conv2d(1, 1, 3)
    nn.init.ones_(conv.weight)
    nn.init.constant_(conv.bias, 0.5)  # type: ignore[arg-type]
    image = [[NAN, 2.0, 4.0], [NAN, NAN, NAN], [NAN, NAN, 6.0]]
    assert _run(conv, image, PartialConvolution()).item() == pytest.approx(12 / (3 / 9) + 0.5)


def test_max_pooling_takes_visible_positions_only() -> None:
    pooled = _run(nn.MaxPool2d(2), [[-3.0, NAN, NAN, NAN], [-2.0, NAN, NAN, NAN]])
    assert torch.equal(pooled, torch.tensor([[[[-2.0, 0.0]]]]))


def test_average_pooling_counts_hidden_positions_as_zero_but_global_pooling_does_not() -> None:
    image = [[3.0, NAN, NAN, NAN], [5.0, NAN, NAN, NAN]]
    assert torch.equal(_run(nn.AvgPool2d(2), image), torch.tensor([[[[2.0, 0.0]]]]))
    assert _run(nn.AdaptiveAvgPool2d(1), image).item() == 4


class _Branches(nn.Module):
    """Concatenates an identity with a 3×3 convolution of the input, or of that identity."""

    def __init__(self, dense: bool) -> None:
        super().__init__()
        self.conv, self.first, self.dense = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1), dense

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        return torch.cat([first, self.conv(first if self.dense else image)], 1)


@pytest.mark.parametrize(("dense", "visible"), [(True, 1), (False, 9)])
def test_dense_concatenation_votes_and_parallel_branches_unite(dense: bool, visible: int) -> None:
    image = torch.full((5, 5), NAN)
    image[2, 2] = 1.0
    assert (_run(_Branches(dense), image.tolist()) != 0).any(dim=1).sum() == visible


def test_explicit_padding_is_neither_visible_nor_filled() -> None:
    conv = nn.Conv2d(1, 1, 3)
    padded = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)
    image = [[NAN] * 4, [NAN] * 4, [NAN, NAN, 1.0, 2.0], [NAN, NAN, 3.0, NAN]]
    same = nn.Conv2d(1, 1, 3, padding=1)
    same.load_state_dict(conv.state_dict())
    expected = _run(same, image)[..., 1:, 1:]
    torch.testing.assert_close(_run(padded, image), expected)
    torch.testing.assert_close(_run(nn.Sequential(nn.ZeroPad2d(1), conv), image), _run(same, image))
    assert not torch.equal(expected, torch.zeros_like(expected))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 2, 3, padding="valid")],
        [nn.Conv2d(1, 2, (3, 5), padding="same")],
        [nn.Conv2d(1, 2, (2, 4), padding=(1, 2))],
        # Windows with nothing of the image: they hold the bias, and the next layer sees it.
        [nn.Conv2d(1, 2, 1, padding=(0, 2)), nn.BatchNorm2d(2), nn.Sigmoid(), nn.Conv2d(2, 2, 3)],
        [nn.ZeroPad2d(4), nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(2)],
        [nn.ConstantPad2d(4, 0.5), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Conv2d(1, 2, 3)],
    ],
)
def test_every_padding_leaves_the_plain_network_alone(layers: list[nn.Module]) -> None:
    made, image = nn.Sequential(*layers).eval(), torch.rand(6, 6)
    with torch.no_grad():
        assert torch.equal(_run(made, image.tolist()), made(image[None, None]))


def test_windows_without_any_of_the_image_are_no_part_of_it() -> None:
    nothing = _run(nn.Conv2d(1, 2, 1, padding=1), [[NAN] * 4] * 4)
    assert (nothing[..., 1:-1, 1:-1] == 0).all()
    assert (nothing[..., 0, :] != 0).all()


def test_in_place_operations_change_what_others_hold() -> None:
    class InPlace(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            result = image * 2
            kept = result
            result += image
            nn.functional.relu(result, inplace=True)
            return kept

    assert torch.equal(_run(InPlace(), [[1.0, -1.0, NAN]]), torch.tensor([[[[3.0, 0.0, 0.0]]]]))


class Spelled(nn.Module):
    """One convolution, then an operation in another spelling."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.operation = nn.Conv2d(3, 4, 3, padding=1), operation

    def forward(self, images: Tensor) -> Tensor:
        return self.operation(self.conv(images))


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (lambda x: x.mean((2, 3)), lambda x: x.mean(axis=(2, 3))),
        (lambda x: torch.cat([x, x], 1).mean((2, 3)), lambda x: torch.cat(tensors=[x, x], axis=1).mean((2, 3))),
        (lambda x: torch.cat([x, x], 1).mean((2, 3)), lambda x: torch.concatenate([x, x], dim=1).mean((2, 3))),
        (lambda x: torch.rsub(x, 1).mean((2, 3)), lambda x: (1 - x).mean((2, 3))),
        (lambda x: torch.flatten(x, 1), lambda x: torch.flatten(input=x, start_dim=1)),
    ],
)
def test_spellings_of_arguments_do_not_matter(usual: Callable[..., Tensor], other: Callable[..., Tensor]) -> None:
    images, visible = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8) > 0.9
    made, same = Spelled(usual).eval(), Spelled(other).eval()
    same.conv = made.conv
    assert torch.equal(LayerMasking()(made, images, visible), LayerMasking()(same, images, visible))


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (lambda x: torch.zeros_like(x.detach().as_subclass(Tensor)).add_(x).mean((2, 3)), "add_ in place"),
        (lambda x: torch.add(x, x, out=torch.empty(2, 4, 8, 8)).mean((2, 3)), "add into another tensor"),
        (lambda x: x.permute(dims=(0, 2, 3, 1)), "permute with other arguments than usual"),
    ],
)
def test_what_would_lose_the_mask_is_refused(operation: Callable[[Tensor], Tensor], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LayerMasking()(Spelled(operation).eval(), torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8) > 0.5)
