"""What `maskexp export` writes against the checkpoint: parity of every method and backbone, and latency of `explain`.

    python benchmarks/export.py parity            # random weights, 64 pixels: method x backbone, as ONNX
    python benchmarks/export.py parity AIM ERM    # of these alone
    python benchmarks/export.py latency --photo photo.jpg

Latency is of one image and one thread: `network` from the prepared image to maps and logits, `file` from the JPEG on;
`start` is the whole command `maskexp explain`, which imports what it needs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import maskexp.methods
from maskexp.cli.explain_checkpoint import prepare_image
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.export.metadata import Metadata, Preprocessing
from maskexp.export.onnx_model import OnnxModel
from maskexp.export.program import ExportError
from maskexp.export.writing import write_model
from maskexp.methods import Method
from maskexp.types import DataSpec

BACKBONES = ("resnet18", "convnext_atto", "tf_efficientnet_lite0")
RESNETS = ("resnet18", "resnet26", "resnet18d")
"""Of methods that mask the residual blocks of a ResNet, and refuse any other network."""
ONLY_RESNETS = ("CAD", "DynConv")
FIRST = ("ERM", "AIM", "BottomUp", "COMET", "DynConv", "CAD", "InputMasked")
"""Methods that stand first in the table."""
OPTIONS: dict[str, dict[str, Any]] = {
    "COMET": {"selector": "small_convnet", "selector_stride": 4},
}


BIASED = ("AIM", "BottomUp")
"""Methods whose masks are empty or full at random weights unless the first bias of their logits lies between."""


def trained(name: str, backbone: str, side: int) -> tuple[Method, Metadata]:
    """Return a method with random weights and batch-norm statistics, and what a file says about it."""
    if name not in BIASED:
        return _random(name, backbone, side)
    images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0))
    low, high = -1.0, 1.0
    for _ in range(12):
        bias = (low + high) / 2
        found = _random(name, backbone, side, initial_bias=bias)
        with torch.no_grad():
            shown = torch.stack([mask.mean() for mask in found[0](images).masks]).mean()
        if 0.3 < shown < 0.7:
            break
        low, high = (bias, high) if shown <= 0.3 else (low, bias)
    return found


def _random(name: str, backbone: str, side: int, **options: Any) -> tuple[Method, Metadata]:
    torch.manual_seed(0)
    spec = DataSpec("noise", "random", ("a", "b", "c"), (), (), (side, side), (), "segmentation")
    method: Method = getattr(maskexp.methods, name)(
        backbone=backbone, weights=None, spec=spec, **OPTIONS.get(name, {}), **options
    )
    method.build(spec)
    with torch.no_grad():
        for module in method.network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine and module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
                module.weight.uniform_(0.8, 1.2)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3)
    geometry = Preprocessing("square", 1.0, side)
    return method.eval(), Metadata("benchmark", name, backbone, "noise", spec.class_names, geometry, {})


def parity(folder: Path, names: Sequence[str]) -> None:
    """Print the largest difference of logits and of masks and map to the method, on noise in batches of 1 and 3."""
    known = [
        name
        for name, value in sorted(vars(maskexp.methods).items())
        if isinstance(value, type) and issubclass(value, Method) and not getattr(value, "__abstractmethods__", None)
    ]
    print(f"| method | {' | '.join(BACKBONES)} |\n|---|{'---|' * len(BACKBONES)}")
    for name in names or [*FIRST, *(name for name in known if name not in FIRST)]:
        cells = []
        for backbone in RESNETS if name in ONLY_RESNETS else BACKBONES:
            method, metadata = trained(name, backbone, 64)
            try:
                found = write_model(method, metadata, folder / "model.onnx").differences
            except ExportError as error:
                cells = [str(error).rpartition("cannot be exported: ")[2].partition(";")[0], *[""] * 2]
                break
            maps = max(value for key, value in found.items() if key != "logits")
            images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)).numpy()
            shown = float(OnnxModel(folder / "model.onnx")(images)["attribution"].mean())
            where = f"{backbone}: " if name in ONLY_RESNETS else ""
            cells.append(f"{where}{_small(found['logits'])}, {_small(maps)}, {100 * shown:.0f} %")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _small(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def milliseconds(calls: Sequence[Callable[[], Any]], repeats: int = 15) -> list[float]:
    """Return the median time of each call, after three that do not count; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(repeats + 3):
        for call, seconds in zip(calls, times, strict=True):
            begun = time.perf_counter()
            call()
            if repeat >= 3:
                seconds.append(time.perf_counter() - begun)
    return [1000 * statistics.median(seconds) for seconds in times]


def latency(folder: Path, photo: Path) -> None:
    """Print the latency of explaining one image by torch and by onnxruntime."""
    torch.set_num_threads(1)
    print("| method | backbone, pixels | | torch | onnxruntime |\n|---|---|---|---|---|")
    for name, backbone, side in (("ERM", "resnet18", 224), ("AIM", "resnet18", 224)):
        method, metadata = trained(name, backbone, side)
        write_model(method, metadata, folder / "model.onnx")
        model, pipeline = OnnxModel(folder / "model.onnx", threads=1), Pipeline(side)
        images = torch.rand(1, 3, side, side)
        arrays = images.numpy()
        rows: dict[str, list[Callable[[], Any]]] = {
            "network": [partial(explain, method, images), partial(model, arrays)],
            "from the file": [partial(explain_file, method, photo, pipeline), partial(model.explain, photo)],
        }
        for row, calls in rows.items():
            cells = " | ".join(f"{value:.0f} ms" for value in milliseconds(calls))
            print(f"| {name} | {backbone}, {side} | {row} | {cells} |", flush=True)


def explain(method: Method, images: torch.Tensor) -> None:
    """Explain prepared images."""
    with torch.no_grad():
        method.explain(images)


def explain_file(method: Method, photo: Path, pipeline: Pipeline) -> None:
    """Explain an image file."""
    explain(method, prepare_image(photo, pipeline)[None].float() / 255)


def start(checkpoint: Path, folder: Path, photo: Path) -> None:
    """Print the seconds of the whole command on a checkpoint and on its export."""
    command = [sys.executable, "-m", "maskexp"]
    subprocess.run(  # noqa: S603
        [*command, "export", str(checkpoint), str(folder / "model.onnx")], check=True
    )
    for model in (checkpoint, folder / "model.onnx"):
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            arguments = [*command, "explain", str(model), str(photo), "--out", str(folder)]
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
            times.append(time.perf_counter() - begun)
        print(f"maskexp explain {model.name}: {statistics.median(times):.2f} s")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["parity", "latency", "start"])
    parser.add_argument("methods", nargs="*", help="for parity; all if none is named")
    parser.add_argument("--photo", type=Path, default=Path("docs/gallery.png"))
    parser.add_argument("--checkpoint", type=Path, help="for start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "parity":
            parity(Path(folder), options.methods)
        elif options.what == "latency":
            latency(Path(folder), options.photo)
        else:
            start(options.checkpoint, Path(folder), options.photo)


if __name__ == "__main__":
    main()
