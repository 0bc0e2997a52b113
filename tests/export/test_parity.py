"""Exported models say what the checkpoints say."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import maskexp.methods
from maskexp.export.metadata import Metadata, Preprocessing
from maskexp.export.onnx_model import OnnxModel
from maskexp.export.program import ExportError, convolution_backward, export_program
from maskexp.export.writing import TOLERANCE, write_model
from maskexp.methods import ERM, Method
from maskexp.types import DataSpec, Prediction

SPEC = DataSpec("mine", "v1", ("cat", "dog", "cow"), (), (), (64, 64), (), "segmentation")
METADATA = Metadata("0.0", "any", "any", "mine (v1)", SPEC.class_names, Preprocessing("square", 1.0, 64), {})
REFUSED = {"BCos": "its map is a gradient of the whole network", "DiET": "found by a descent on each image"}
"""Methods that no fixed program can do, and why."""
CONCRETE = sorted(
    name
    for name, value in vars(maskexp.methods).items()
    if isinstance(value, type) and issubclass(value, Method) and not getattr(value, "__abstractmethods__", None)
)
SLOW = {"RBAEM", "REALX", "RTSaliency"}
"""Methods of several networks."""
SEEDS = {"CAD": 2}
"""Of the random weights where those of 0 make a mask empty."""
OPTIONS: dict[str, dict[str, Any]] = {name: {"initial_bias": 0.0} for name in ("AIM", "BottomUp")}
OPTIONS["COMET"] = {"selector": "small_convnet", "selector_stride": 4}


def trained(name: str, backbone: str = "test_resnet", spec: DataSpec = SPEC, **options: Any) -> Method:
    """Return a method with random weights and statistics, whose masks are neither empty nor full."""
    torch.manual_seed(SEEDS.get(name, 0))
    method: Method = getattr(maskexp.methods, name)(backbone=backbone, weights=None, spec=spec, **options)
    method.build(spec)
    with torch.no_grad():
        for module in method.network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine and module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
                module.weight.uniform_(0.8, 1.2)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3)
    return method.eval()


def assert_same(method: Method, path: Path, spec: DataSpec = SPEC) -> dict[str, np.ndarray]:
    """Compare a file with the method, on batches of two sizes; return the outputs of the larger one."""
    write_model(method, METADATA, path)
    model = OnnxModel(path)
    for size in (1, 5):
        images = torch.rand(size, 3, *spec.image_size, generator=torch.Generator().manual_seed(size + 10))
        outputs = model(images.numpy())
        prediction = method.explain(images)
        attribution = prediction.attribution_at(spec.image_size)
        assert attribution is not None
        expected = {"logits": prediction.logits, "attribution": attribution}
        expected |= {f"mask_{number}": mask for number, mask in enumerate(prediction.masks, start=1)}
        assert outputs.keys() == expected.keys()
        for key, value in expected.items():
            assert outputs[key] == pytest.approx(value.detach().numpy(), abs=TOLERANCE), key
    return outputs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in sorted(set(CONCRETE) - REFUSED.keys())
    ],
)
def test_every_method_says_the_same(name: str, tmp_path: Path) -> None:
    outputs = assert_same(trained(name, **OPTIONS.get(name, {})), tmp_path / "model.onnx")
    assert 0 < outputs["attribution"].mean() < 1, "a map that is empty or full shows little"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_methods_that_cannot_be_exported_say_why(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=REFUSED[name]) as caught:
        write_model(trained(name), METADATA, tmp_path / "model.onnx")
    assert str(caught.value).startswith(f"{name} on test_resnet cannot be exported: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class ShowsMore(ERM):
    """Explains itself by something else than its network's forward pass."""

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        prediction = self(images)
        prediction.masks = (images[:, :1],)
        return self.with_attributions(prediction, images, target)


def test_a_method_with_an_explanation_of_its_own_is_not_written_without_it(tmp_path: Path) -> None:
    method = ShowsMore(backbone="small_convnet", weights=None, spec=SPEC)
    method.build(SPEC)
    with pytest.raises(ExportError, match="more or less than what its network's forward pass gives"):
        write_model(method.eval(), METADATA, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backbone"),
    [("AIM", "test_convnext"), ("ERM", "test_efficientnet"), ("ERM", "test_vit")],
)
def test_backbones_of_other_kinds_say_the_same(name: str, backbone: str, tmp_path: Path) -> None:
    spec = replace(SPEC, image_size=(160, 160)) if backbone == "test_vit" else SPEC
    assert_same(trained(name, backbone, spec, **OPTIONS.get(name, {})), tmp_path / "model.onnx", spec)


def test_a_gradient_through_a_convolution_behind_the_features() -> None:
    features, weight = torch.rand(2, 4, 9, 7), torch.rand(6, 2, 3, 3)
    leaf = features.requires_grad_()
    out = torch.nn.functional.conv2d(leaf, weight, None, (2, 1), (1, 0), (1, 2), 2)
    given = torch.rand_like(out)
    (expected,) = torch.autograd.grad(out, leaf, given)
    wanted = [True, False, False]
    found = convolution_backward(given, features, weight, None, (2, 1), (1, 0), (1, 2), False, (0, 0), 2, wanted)[0]
    assert found is not None
    assert torch.allclose(found, expected, atol=1e-5)


def test_sparse_inference_is_exported_densely() -> None:
    method = trained("AIM", initial_bias=0.0, sparse_below=1.0)
    program, _ = export_program(method)
    images = torch.rand(3, 3, 64, 64)
    assert torch.allclose(program.module()(images)[0], method.explain(images).logits, atol=TOLERANCE)
    assert method.network.sparse_below == 1.0


def test_a_program_of_torch_export(tmp_path: Path) -> None:
    method = trained("AIM", initial_bias=0.0)
    write_model(method, METADATA, tmp_path / "model.pt2")
    files = {"maskexp.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=files).module()
    images = torch.rand(4, 3, 64, 64)
    prediction = method.explain(images)
    logits, *masks, attribution = program(images)
    assert torch.allclose(logits, prediction.logits, atol=TOLERANCE)
    assert all(torch.equal(mask, own) for mask, own in zip(masks, prediction.masks, strict=True))
    assert attribution.shape == (4, 1, 64, 64)
    assert "cow" in files["maskexp.json"]


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("AIM", {"eval_noise": True}, "draws its masks anew"),
        ("COMET", {"hiding": "layer", "detector_bn": "eval"}, "hides by LayerMasking"),
    ],
)
def test_what_cannot_be_exported_says_why(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ExportError, match=reason) as caught:
        export_program(trained(name, **options))
    assert "\n" not in str(caught.value)


def test_a_network_that_draws_in_evaluation_is_refused() -> None:
    method = trained("ERM", "small_convnet")
    forward = method.network.forward

    def noisy(images: torch.Tensor) -> Any:
        return forward(images + torch.rand_like(images))

    method.network.forward = noisy
    with pytest.raises(ExportError, match="draws random numbers"):
        export_program(method)


def test_what_decides_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = trained("ERM", "small_convnet")
    program = export_program(deepcopy(method))
    with torch.no_grad():
        next(method.network.network.get_classifier().parameters()).add_(0.1)
    monkeypatch.setattr("maskexp.export.writing.export_program", lambda _: program)
    with pytest.raises(ExportError, match="other logits than the checkpoint"):
        write_model(method, METADATA, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
