"""Layer masking on every supported family (Balasubramanian & Feizi, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
import timm
import torch
from torch import Tensor, nn

from maskexp.masking.inputs import (
    LayerMasking,
    PartialConvolution,
    UnsupportedLayerError,
    neighbour_padding,
    neighbours,
)
from maskexp.methods import AIM
from maskexp.models import AIMNetwork
from maskexp.types import Prediction
from tests.defaults import network_defaults
from tests.masking.inputs.networks import FAST, SIZE, SLOW, empty_logits, logits, network

every_network = pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def _case() -> tuple[Tensor, Tensor]:
    """Return two images: one with a hole and scattered hidden pixels, one of which only a corner is visible."""
    visible = torch.rand(2, 1, SIZE, SIZE) > 0.2
    visible[0, :, 10:50, 20:60] = False
    visible[1, :, :, 24:] = False
    return torch.rand(2, 3, SIZE, SIZE), visible


@every_network
@pytest.mark.parametrize("padding", ["neighbour", "zero"])
def test_everything_visible_is_the_plain_network(name: str, padding: str) -> None:
    images, visible = _case()
    hidden = LayerMasking(padding)(network(name), images, torch.ones_like(visible))
    assert torch.equal(logits(hidden), logits(network(name)(images)))


@every_network
def test_what_is_hidden_does_not_matter(name: str) -> None:
    images, visible = _case()
    outputs = [
        logits(LayerMasking()(network(name), torch.where(visible, images, other), visible))
        for other in (torch.rand_like(images), torch.tensor(1e6), torch.tensor(torch.nan))
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], logits(network(name)(images)), rtol=1e-3, atol=1e-5)


@every_network
def test_what_is_visible_matters(name: str) -> None:
    images, visible = _case()
    outputs = [logits(LayerMasking()(network(name), image, visible)) for image in (images, images.flip(1))]
    assert ((outputs[0] - outputs[1]).abs().amax(dim=1) > 1e-5).all()


@every_network
def test_everything_hidden_leaves_what_the_head_makes_of_nothing(name: str) -> None:
    images, visible = _case()
    hidden = logits(LayerMasking()(network(name), images, torch.zeros_like(visible)))
    torch.testing.assert_close(hidden, empty_logits(network(name), 2), rtol=0, atol=0)


@every_network
def test_images_of_a_batch_do_not_touch(name: str) -> None:
    images, visible = _case()
    together = logits(LayerMasking()(network(name), images, visible))
    others = torch.stack([images[0], torch.rand(3, SIZE, SIZE)]), torch.stack([visible[0], visible[0].flip(1)])
    assert torch.equal(logits(LayerMasking()(network(name), *others))[0], together[0])
    for row in range(2):
        alone = logits(LayerMasking()(network(name), images[row : row + 1], visible[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-4)


@every_network
def test_hidden_pixels_have_no_gradient(name: str) -> None:
    images, visible = _case()
    with torch.enable_grad():
        images.requires_grad_()
        logits(LayerMasking()(network(name), images, visible)).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.masked_select(~visible) == 0).all()
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_partial_convolution_hides_but_is_not_the_plain_network() -> None:
    made = network("torchvision resnet18")
    images, visible = _case()
    hidden = PartialConvolution()(made, images, visible)
    assert torch.equal(hidden, PartialConvolution()(made, torch.where(visible, images, torch.nan), visible))
    # Windows at the border of the image are rescaled as well.
    assert not torch.allclose(PartialConvolution()(made, images, torch.ones_like(visible)), made(images), rtol=0.01)


def test_paddings_differ() -> None:
    images, visible = _case()
    ways = (LayerMasking(), LayerMasking("zero"), PartialConvolution())
    outputs = [way(network("torchvision resnet18"), images, visible) for way in ways]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(outputs[one], outputs[other], rtol=1e-2)


def test_a_prediction_stays_one_and_its_features_are_zero_where_hidden() -> None:
    images = torch.rand(1, 3, SIZE, SIZE)
    visible = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    visible[..., 32:] = False
    prediction = LayerMasking()(network("our small_convnet"), images, visible)
    assert isinstance(prediction, Prediction)
    assert type(prediction.features) is torch.Tensor
    # 32 visible columns; each 3×3 convolution adds one, each pooling rounds up: 33, 17, 18, 9, 10, 5, 6.
    assert (prediction.features[..., 6:] == 0).all()
    assert (prediction.features[..., :6] != 0).any(dim=1).all()


@pytest.mark.parametrize("gumbel", ["sigmoid", "softmax2"])
def test_a_network_with_masks_of_its_own_is_carried_through(gumbel: str) -> None:
    images, visible = _case()
    aim = AIMNetwork(
        "test_convnext",
        10,
        weights=None,
        image_size=(SIZE, SIZE),
        **network_defaults(AIM, AIMNetwork) | {"gumbel": gumbel},
    ).eval()  # type: ignore[arg-type]
    plain, whole = aim(images), LayerMasking()(aim, images, torch.ones_like(visible))
    assert torch.equal(plain.logits, whole.logits)
    assert torch.equal(plain.attribution, whole.attribution)
    hidden = [
        LayerMasking()(aim, torch.where(visible, images, other), visible)
        for other in (torch.tensor(0.5), torch.tensor(torch.nan))
    ]
    assert torch.equal(hidden[0].logits, hidden[1].logits)


def test_works_under_inference_mode_and_autocast() -> None:
    images, visible = _case()
    made = network("torchvision resnet18")
    expected = LayerMasking()(made, images, visible)
    with torch.inference_mode():
        assert torch.equal(LayerMasking()(made, images, visible), expected)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            half = LayerMasking()(made, images, visible)
        torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.1)


def test_weights_and_hooks_are_left_alone() -> None:
    made = network("torchvision resnet18")
    before = {key: value.clone() for key, value in made.state_dict().items()}
    LayerMasking()(made, *_case())
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())


def test_training_mode_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"the network is in training mode; call network.eval\(\)"):
        LayerMasking()(nn.Sequential(nn.Conv2d(3, 4, 3)), *_case())
    mixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    mixed[1].train()
    with pytest.raises(ValueError, match="its layer '1' is in training mode"):
        LayerMasking()(mixed, *_case())


class _Shuffle(nn.Module):
    """Mixes positions in a way that has no rule."""

    def forward(self, features: Tensor) -> Tensor:
        return features.roll(1, dims=-1)


@pytest.mark.parametrize(
    ("made", "layer", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(_Shuffle())), r"layer '1\.0' \(_Shuffle\)", "roll"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), r"layer '1' \(GroupNorm\)", "group_norm"),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), r"layer '0' \(ConvTranspose2d\)", "conv_transpose2d"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), "layer '0'", "statistics of the batch"),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear")), "layer '0'", "mixes visible with hidden"),
        (_Shuffle(), r"the network's own forward \(_Shuffle\)", "roll"),
    ],
)
def test_an_unsupported_layer_is_refused_by_name(made: nn.Module, layer: str, reason: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=rf"cannot pass through {layer}.*{reason}"):
        LayerMasking()(made.eval(), *_case())


def test_a_transformer_is_sent_to_token_dropping() -> None:
    transformer = timm.create_model("test_vit", num_classes=10, img_size=SIZE).eval()
    with pytest.raises(UnsupportedLayerError, match=r"VisionTransformer.*token_dropping"):
        LayerMasking()(transformer, *_case())


def test_an_unknown_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown padding 'partial'; choose neighbour or zero"):
        LayerMasking("partial")


class Residual(nn.Module):
    """A block whose depthwise convolution makes the visible part grow, which the sum undoes."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.depthwise(images)


def test_the_blocks_of_a_stage_share_what_is_found_out_about_their_mask() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *(Residual() for _ in range(5))).eval()
    images, visible = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16) < 0.3
    with torch.inference_mode(), mock.patch.object(neighbours, "_planned", wraps=neighbours._planned) as planned:
        found = LayerMasking()(network, images, visible)
    assert planned.call_count == 1
    expected = network[0](images)
    for block in list(network)[1:]:
        expected = expected + block.depthwise(neighbour_padding(expected, visible, 2))
    torch.testing.assert_close(found, torch.where(visible, expected, 0))
