from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.data.transforms import EvalTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.export.metadata import Metadata, Preprocessing
from maskexp.export.onnx_model import OnnxModel, preprocess


@pytest.mark.parametrize("size", [(60, 40), (33, 70), (32, 32), (500, 333)])
@pytest.mark.parametrize(("resize", "fraction"), [("square", 1.0), ("center_crop", 0.8)])
def test_pillow_prepares_images_as_torch_does(size: tuple[int, int], resize: str, fraction: float) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.BICUBIC))
    pipeline = Pipeline(32, evaluation=EvalTransform(resize, fraction))
    ours = pipeline.evaluate(torch.from_numpy(pixels.copy()).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    theirs = preprocess(pixels, Preprocessing(resize, fraction, 32))
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.1


def test_metadata_survive_the_texts() -> None:
    for how in (None, Preprocessing("center_crop", 0.875, 224)):
        metadata = Metadata("1.0", "AIM", "resnet50", "birds (v1)", ("Möwe", 'a "b"'), how, {"logits": "scores"})
        assert Metadata.from_texts(metadata.to_texts() | {"other": "x"}) == metadata


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("class_names", "[1]", "its class names are damaged"),
        ("class_names", "[", "its metadata are damaged"),
        ("preprocessing", '{"resize": "x", "crop_fraction": 1, "size": 32}', "that is none"),
        ("preprocessing", '{"resize": "square"}', "it has no 'crop_fraction'"),
    ],
)
def test_damaged_metadata_are_refused(key: str, value: str, complaint: str) -> None:
    whole = Metadata("1", "AIM", "b", "d", ("a",), Preprocessing("square", 1.0, 32), {}).to_texts()
    with pytest.raises(ValueError, match=complaint):
        Metadata.from_texts(whole | {f"maskexp.{key}": value})


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    with pytest.raises(FileNotFoundError, match="no exported model"):
        OnnxModel(file)
    file.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="not an ONNX model that onnxruntime can run"):
        OnnxModel(file)
