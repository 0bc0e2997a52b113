"""Write a trained method as an ONNX model or as a program of torch.export, after comparing it with the method."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from maskexp.export.metadata import Metadata
from maskexp.export.onnx_model import create_session
from maskexp.export.program import ExportError, export_program, quiet
from maskexp.files import atomic_write, readable
from maskexp.methods import Method

__all__ = ["SUFFIXES", "Written", "write_model"]

TOLERANCE = 1e-4
"""Largest difference to the method: of masks and maps, which lie in [0, 1], and of logits relative to their size."""
BATCHES = (1, 3)
"""Images a batch in the comparison; the program was traced with another number."""
LARGEST = (1 << 31) - (1 << 20)
"""Bytes of an ONNX model in one file: it is a protocol buffer, which ends at 2 GiB."""
META = "maskexp.json"
"""Where an archive of torch.export keeps the metadata."""
OUTPUTS = {
    "logits": "(batch, classes), before the softmax",
    "mask": "(batch, 1, h, w), a mask of the network on its own grid, in the order of Prediction.masks",
    "attribution": "(batch, 1, height, width) in [0, 1], what explains the decision: the merged mask, or Grad-CAM of "
    "the predicted class",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        bytes: size of the file.
        differences: largest absolute difference to the method, by output.
    """

    bytes: int
    differences: Mapping[str, float]


Run = Callable[[Tensor], Sequence[Any]]


def write_model(method: Method, metadata: Metadata, path: str | os.PathLike[str]) -> Written:
    """Write a trained method to a file that needs no checkpoint, whole or not at all.

    Args:
        method: with weights and a specification.
        metadata: what the file says about itself; its ``outputs`` are filled in.
        path: ending in ``.onnx`` for an ONNX model, in ``.pt2`` for an archive of ``torch.export``.

    Raises:
        ImportError: if onnx, onnxscript or onnxruntime is missing for an ONNX model.
        ExportError: if the method cannot be exported, or what would be written decides otherwise than the method.
        ValueError: if the suffix is unknown.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(
            f"a model is exported to a file that ends in {' or '.join(SUFFIXES)}, not to {os.fspath(path)!r}"
        )
    program, names = export_program(method)
    texts = {**metadata.to_texts(), **_meaning(names)}
    return SUFFIXES[suffix](method, program, names, texts, path)


def _write_onnx(
    method: Method,
    program: ExportedProgram,
    names: Sequence[str],
    texts: Mapping[str, str],
    path: str | os.PathLike[str],
) -> Written:
    model = _as_onnx(program, names)
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights > LARGEST:
        raise ExportError(
            f"the network has {readable(weights)} of weights, and an ONNX model in one file holds 2 GB; write a .pt2"
        )
    content = model.SerializeToString()
    session = create_session(content)
    differences = _compare(method, names, lambda images: session.run(None, {"images": images.numpy()}))
    with atomic_write(path) as partial:
        partial.write_bytes(content)
    return Written(len(content), differences)


def _write_program(
    method: Method,
    program: ExportedProgram,
    names: Sequence[str],
    texts: Mapping[str, str],
    path: str | os.PathLike[str],
) -> Written:
    module = program.module()
    differences = _compare(method, names, lambda images: [output.detach().numpy() for output in module(images)])
    with atomic_write(path) as partial, quiet():
        content = io.BytesIO()  # on a full disk torch would end the whole process
        torch.export.save(program, content, extra_files={META: json.dumps(dict(texts))})
        partial.write_bytes(content.getvalue())
    return Written(Path(path).stat().st_size, differences)


SUFFIXES = {".onnx": _write_onnx, ".pt2": _write_program}
"""How a model is written, by the end of the file's name."""


def _as_onnx(program: ExportedProgram, names: Sequence[str]) -> Any:
    """Return a program as an ONNX model (a protocol buffer) with our names of inputs, outputs and the batch's axis."""
    try:
        import onnxscript  # noqa: F401, torch's exporter needs it and would say so in its own words
    except ImportError as error:
        raise ImportError(
            "an ONNX model is written with onnx and onnxscript, which are missing: pip install 'maskexp[export]'"
        ) from error
    try:
        with quiet():
            exported = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["images"], output_names=list(names)
            )
    except Exception as error:  # the exporter's errors have no common class
        lines = [line for line in str(error).splitlines() if "No ONNX function found" in line]
        why = lines[-1].split("found for")[-1].split(". Failure")[0].strip() if lines else type(error).__name__
        raise ExportError(
            f"the network has a step that torch cannot write as ONNX ({why}); export it as .pt2, or report it"
        ) from error
    if exported is None:
        raise ExportError("torch wrote no ONNX model")
    model = exported.model_proto
    del model.graph.value_info[:]  # shapes of what lies between, which onnxruntime infers
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _compare(method: Method, names: Sequence[str], run: Run) -> dict[str, float]:
    """Return the largest difference of each output to that of the method, on images of noise.

    Raises:
        ExportError: if one is larger than rounding makes it.
    """
    spec = method.spec
    if spec is None:
        raise ExportError("the method does not know its data")
    generator = torch.Generator().manual_seed(1)
    differences = dict.fromkeys(names, 0.0)
    for size in BATCHES:
        images = torch.rand(size, 3, *spec.image_size, generator=generator)
        with torch.no_grad():
            prediction = method.explain(images)
        attribution = prediction.attribution_at(spec.image_size)
        expected = [prediction.logits, *prediction.masks, *([] if attribution is None else [attribution])]
        if len(expected) != len(names):
            raise ExportError(
                f"{type(method).__name__} cannot be exported: what it says of images is more or less than what its "
                "network's forward pass gives, which is all that is written; explain its checkpoint"
            )
        for name, ours, theirs in zip(names, expected, run(images), strict=True):
            wanted = ours.detach().float().numpy()
            if wanted.shape != theirs.shape:
                raise ExportError(f"the exported {name} has the shape {theirs.shape}, not {wanted.shape}")
            difference = float(np.abs(wanted - theirs).max())
            scale = max(1.0, float(np.abs(wanted).max()))
            if not difference <= TOLERANCE * scale:
                raise ExportError(
                    f"what was exported gives other {name} than the checkpoint, by up to {difference:.2g}, so that "
                    "nothing is written; please report it"
                )
            differences[name] = max(differences[name], difference)
    return differences


def _meaning(names: Sequence[str]) -> dict[str, str]:
    return {
        "maskexp.outputs": json.dumps({name: OUTPUTS["mask" if name.startswith("mask_") else name] for name in names})
    }
