"""``maskexp explain NAME --weights FILE``: a network of timm that nothing of ours has trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from maskexp.cli.main import main
from tests.cli.conftest import SMALL, Command

CLASSES = 7


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network with a head of seven classes, and a photograph of no square."""
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=CLASSES)
    safetensors.torch.save_file(network.state_dict(), folder / "weights.safetensors")
    torch.save({"state_dict": network.state_dict()}, folder / "weights.pth")
    without = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    safetensors.torch.save_file(without, folder / "headless.safetensors")
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((270, 200), Image.Resampling.BICUBIC).save(folder / "photo.png")
    return folder


@pytest.mark.parametrize("weights", ["weights.safetensors", "weights.pth"])
def test_logits_are_timms_own_on_timms_own_preprocessing(
    files: Path, tmp_path: Path, maskexp: Command, weights: str
) -> None:
    found = maskexp(
        "explain", "test_resnet", files / "photo.png", "--weights", files / weights, "--json", "--out", tmp_path
    )
    assert found.code == 0, found.err
    answer = json.loads(found.out)
    network = timm.create_model("test_resnet", num_classes=CLASSES).eval()
    network.load_state_dict(torch.load(files / "weights.pth", weights_only=True)["state_dict"])
    prepared = create_transform(**resolve_model_data_config(network))(Image.open(files / "photo.png"))
    with torch.no_grad():
        logits = network(prepared[None])[0]
    assert list(answer["logits"]) == [f"class {number}" for number in range(CLASSES)]
    assert list(answer["logits"].values()) == pytest.approx(logits.tolist(), abs=1e-4)
    assert answer["predicted"] == f"class {int(logits.argmax())}"
    assert [Path(picture).name for picture in answer["pictures"]] == [
        "photo_grad_cam.png",
        "photo_grad_cam_overlay.png",
    ]
    assert Image.open(answer["pictures"][0]).size == (160, 160)


def test_maps_that_are_asked_for_are_drawn_and_the_class_is_printed(
    files: Path, tmp_path: Path, maskexp: Command
) -> None:
    maps = ["--map", "rise:masks=8", "--map", "layer_cam:layer=layer2"]
    weights = files / "weights.safetensors"
    found = maskexp("explain", "test_resnet", files / "photo.png", "--weights", weights, *maps, "--out", tmp_path)
    assert found.code == 0, found.err
    assert found.out.startswith(f"{files / 'photo.png'}: class ")
    drawn = sorted(path.name for path in tmp_path.iterdir())
    names = ["photo_layer_cam_layer=layer2", "photo_rise_masks=8"]
    assert drawn == [f"{name}{part}.png" for name in names for part in ("", "_overlay")]
    assert np.ptp(np.asarray(Image.open(tmp_path / "photo_rise_masks=8.png"))) == 255


@pytest.mark.parametrize(
    ("name", "weights", "flags", "code", "message"),
    [
        ("test_resnt", "weights.pth", [], 1, "timm has no network called 'test_resnt'; did you mean 'test_resnet'"),
        ("test_resnet2", "nothing.pth", [], 1, "there is no file or folder"),
        ("test_resnet", "photo.png", [], 1, "is not a PyTorch file that can be read safely"),
        ("test_resnet", "headless.safetensors", [], 1, "have no head for the network 'test_resnet' (fc.weight)"),
        ("resnet18", "weights.pth", [], 1, "do not fit the network 'resnet18'"),
        ("test_resnet", "weights.pth", ["--map", "own"], 2, "a network of timm has no map of its own; choose another"),
        ("test_resnet", "weights.pth", ["--map", "rize"], 1, "there is no map called 'rize'; did you mean 'rise'?"),
        ("test_resnet", "weights.pth", ["--map", "attention_rollout"], 1, "a vision transformer"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    files: Path, tmp_path: Path, maskexp: Command, name: str, weights: str, flags: list[str], code: int, message: str
) -> None:
    found = maskexp("explain", name, files / "photo.png", "--weights", files / weights, *flags, "--out", tmp_path / "x")
    assert found.code == code, found.err
    assert message in found.complaint
    assert "\n" not in found.complaint
    assert not (tmp_path / "x").exists()


def test_a_name_without_weights_and_a_checkpoint_with_some_are_told_what_to_do(
    files: Path, tmp_path: Path, maskexp: Command
) -> None:
    found = maskexp("explain", "test_resnet", files / "photo.png", "--out", tmp_path)
    assert "there is no file 'test_resnet'; a network of timm goes by its name and --weights FILE" in found.complaint
    weights = files / "weights.pth"
    found = maskexp("explain", weights, files / "photo.png", "--weights", weights, "--out", tmp_path)
    assert (found.code, "leave --weights out" in found.complaint) == (2, True)


def test_a_checkpoint_of_ours_is_no_weights_of_timm(files: Path, tmp_path: Path, maskexp: Command) -> None:
    run = tmp_path / "run"
    flags = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--test_after_fit=false"]
    assert main(["fit", "--model=ERM", *SMALL, *flags, f"--run_dir={run}"]) == 0
    last = run / "checkpoints" / "last.ckpt"
    found = maskexp("explain", "test_resnet", files / "photo.png", "--weights", last, "--out", tmp_path)
    assert (found.code, "is a checkpoint of maskexp; explain it by itself" in found.complaint) == (2, True)
