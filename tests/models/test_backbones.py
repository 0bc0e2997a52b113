"""Backbones by name, with weights from a file or from nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from maskexp.models import Backbone
from maskexp.models.backbones import create_timm

SIZE = (64, 64)
IMAGES = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_stages_come_shallow_to_deep() -> None:
    backbone = Backbone("test_resnet", stages=3, weights=None, image_size=SIZE).eval()
    shapes = [tuple(feature.shape[1:]) for feature in backbone(IMAGES)]
    assert shapes == [
        (channels, SIZE[0] // stride, SIZE[1] // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert backbone.strides == (8, 16, 32)


def test_swin_is_turned_to_channels_first() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224", stages=2, weights=None, image_size=SIZE).eval()
    assert [tuple(feature.shape) for feature in backbone(IMAGES)] == [(2, 384, 4, 4), (2, 768, 2, 2)]


def test_images_are_normalised_inside() -> None:
    backbone = Backbone("test_resnet", weights=None, image_size=SIZE)
    mean = torch.tensor(timm.get_pretrained_cfg("test_resnet").mean).view(1, 3, 1, 1)
    torch.testing.assert_close(backbone.normalize(mean.expand(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    source = timm.create_model("test_resnet", pretrained=False)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, file)
    else:
        safetensors.torch.save_file(source.state_dict(), file)
    backbone = Backbone("test_resnet", weights=str(file), image_size=SIZE)
    assert torch.equal(backbone.network.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), file)
    with pytest.raises(ValueError, match="do not fit the network 'test_resnet'"):
        create_timm("test_resnet", str(file), SIZE)


@pytest.mark.parametrize("features_only", [True, False])
def test_weights_under_other_names_are_refused(tmp_path: Path, features_only: bool) -> None:
    """Where timm drops the head it loads loosely, and a file without one known name would leave all weights random."""
    file = tmp_path / "weights.pth"
    state = timm.create_model("test_resnet", num_classes=5).state_dict()
    torch.save({f"encoder.{name}": tensor for name, tensor in state.items()}, file)
    with pytest.raises(ValueError, match=r"only 0 of \d+ weights of the network 'test_resnet' came from|do not fit"):
        create_timm(
            "test_resnet", str(file), SIZE, **({"features_only": True} if features_only else {"num_classes": 3})
        )


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nothing.pth"):
        Backbone("test_resnet", weights=str(tmp_path / "nothing.pth"))


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"no safetensors at all")
    with pytest.raises(ValueError, match=r"weights\.safetensors is not a safetensors file that can be read"):
        Backbone("test_resnet", weights=str(file))


def test_pixels_are_not_taken_for_images() -> None:
    backbone = Backbone("test_resnet", weights=None, image_size=SIZE)
    with pytest.raises(ValueError, match=r"the images are torch\.uint8; networks take floats in \[0, 1\]"):
        backbone((255 * IMAGES).to(torch.uint8))


def test_normalised_images_have_the_type_of_the_network() -> None:
    backbone = Backbone("test_resnet", weights=None, image_size=SIZE).eval().bfloat16()
    assert backbone(IMAGES)[0].dtype == torch.bfloat16


def test_weights_that_hold_code_are_not_run(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": test_weights_that_hold_code_are_not_run}, file)
    with pytest.raises(ValueError, match="not a PyTorch file that can be read safely"):
        Backbone("test_resnet", weights=str(file))


def test_unknown_network_gets_suggestions() -> None:
    with pytest.raises(ValueError, match=r"did you mean .*resnet50"):
        Backbone("resnet5O", weights=None)


@pytest.mark.parametrize(
    ("name", "size", "fitting"),
    [
        ("small_convnet", (4, 4), 8),
        ("convnext_atto", (16, 16), 32),
        ("inception_v3", (32, 64), 96),
        ("levit_128s", (225, 225), 256),  # a multiple of 16
        ("crossvit_9_240", (96, 96), 240),  # one size only
    ],
)
def test_a_size_of_images_that_does_not_pass_is_refused_with_one_that_does(
    name: str, size: tuple[int, int], fitting: int
) -> None:
    message = (
        rf"'{name}' cannot take images of {size[1]}x{size[0]} pixels; give --data\.image_size {fitting}, for example"
    )
    with pytest.raises(ValueError, match=message):
        create_timm(name, None, size, num_classes=2)


@pytest.mark.parametrize(("name", "size"), [("small_convnet", (8, 9)), ("resnet18", (1, 1)), ("pvt_v2_b0", (31, 33))])
def test_a_size_of_images_that_passes_is_taken(name: str, size: tuple[int, int]) -> None:
    assert create_timm(name, None, size, num_classes=2)


@pytest.mark.parametrize(("stages", "message"), [(9, "has 5; choose 1 to 5"), (0, "at least 1 stage")])
def test_impossible_number_of_stages_is_refused(stages: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backbone("test_resnet", stages=stages, weights=None)


def test_first_kind_of_resnet_strides_in_the_first_convolution() -> None:
    network = create_timm("resnet50_v1", None, SIZE)
    for stage in (network.layer2, network.layer3, network.layer4):
        assert stage[0].conv1.stride == (2, 2)
        assert stage[0].conv2.stride == (1, 1)
    assert network.layer1[0].conv1.stride == (1, 1)
    backbone = Backbone("resnet50_v1", stages=2, weights=None, image_size=SIZE).eval()
    assert [tuple(feature.shape[-2:]) for feature in backbone(IMAGES)] == [(4, 4), (2, 2)]


def test_frozen_backbone_does_not_move() -> None:
    backbone = Backbone("test_resnet", weights=None, image_size=SIZE, frozen=True)
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(IMAGES)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet50_v1"])
def test_real_weights_know_imagenet(name: str, shared: Path) -> None:
    file = {"tf_efficientnet_lite0": "tf_efficientnet_lite0", "resnet50_v1": "resnet50_v1_fp16"}[name]
    weights = str(shared / "weights" / f"{file}.safetensors")
    network = create_timm(name, weights, (224, 224)).eval()
    rows = (shared / "data" / "imagenet-photos" / "labels.csv").read_text().splitlines()[1:41]
    photos = torch.stack([_photo(shared / "data" / "imagenet-photos" / row.split(",")[0]) for row in rows])
    normalize = Backbone(name, weights=None).normalize
    with torch.inference_mode():
        predicted = network(normalize(photos)).argmax(1)
    expected = torch.tensor([int(row.split(",")[1]) for row in rows])
    assert (predicted == expected).float().mean() > 0.6


def _photo(path: Path) -> torch.Tensor:
    return center_crop(resize(pil_to_tensor(Image.open(path).convert("RGB")), [224]), [224, 224]) / 255
