from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.results import RunDirectory
from tests.cli.conftest import Command

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "lightning", "timm"):
    sys.modules[name] = None  # to import it fails
from maskexp.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((50, 60), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def test_an_exported_model_explains_without_torch(
    trained: RunDirectory, photo: Path, tmp_path: Path, maskexp: Command
) -> None:
    best, model = trained.checkpoints / "best.ckpt", tmp_path / "model.onnx"
    outcome = maskexp("export", best, model)
    assert outcome.code == 0, outcome.err
    assert "AIM on test_resnet, 2 classes" in outcome.out
    assert outcome.err == ""

    arguments = ["explain", str(model), str(photo), "--json", "--out", str(tmp_path / "onnx")]
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    ours = json.loads(maskexp("explain", best, photo, "--json", "--out", tmp_path / "torch").out)
    assert theirs["logits"].keys() == ours["logits"].keys() == {"landbird", "waterbird"}
    # Pillow and torch resize to within one or two of 255 levels.
    assert list(theirs["logits"].values()) == pytest.approx(list(ours["logits"].values()), abs=0.02)
    masks = [np.asarray(Image.open(tmp_path / folder / "photo_mask.png")) > 127 for folder in ("onnx", "torch")]
    assert (masks[0] != masks[1]).mean() < 0.05


def test_a_model_for_torch(trained: RunDirectory, photo: Path, tmp_path: Path, maskexp: Command) -> None:
    outcome = maskexp("export", trained.checkpoints / "best.ckpt", tmp_path / "model.pt2")
    assert outcome.code == 0, outcome.err
    refused = maskexp("explain", tmp_path / "model.pt2", photo)
    assert refused.code == 2
    assert "torch.export.load" in refused.complaint


def test_another_suffix_is_refused_before_anything_is_read(tmp_path: Path, maskexp: Command) -> None:
    outcome = maskexp("export", "none.ckpt", tmp_path / "model.tflite")
    assert outcome.code == 2
    assert "end in .onnx or .pt2" in outcome.complaint


def test_a_model_of_others_is_refused(photo: Path, tmp_path: Path, maskexp: Command) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [other])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    outcome = maskexp("explain", tmp_path / "m.onnx", photo)
    assert outcome.code == 1
    assert "not a model that maskexp export wrote" in outcome.complaint


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    code = WITHOUT_TORCH.replace('"torch",', '"torch", "onnxruntime",')
    command = [sys.executable, "-c", code, "explain", str(tmp_path / "model.onnx"), str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'maskexp[export]'" in done.stderr


def test_an_exported_model_carries_its_own_map_alone(
    trained: RunDirectory, photo: Path, tmp_path: Path, maskexp: Command
) -> None:
    assert maskexp("export", trained.checkpoints / "best.ckpt", tmp_path / "model.onnx").code == 0
    outcome = maskexp("explain", tmp_path / "model.onnx", photo, "--map", "rise", "--out", tmp_path)
    assert outcome.code == 1
    assert "explain the checkpoint by rise" in outcome.complaint
