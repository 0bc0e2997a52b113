"""``maskexp explain MODEL IMAGE...``: what a trained model decides about any image, and from which part of it.

An exported model is run without torch, so that what needs it is imported for checkpoints and networks of timm alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from maskexp.cli.errors import CommandError
from maskexp.export.explanation import Explainer, Explanation
from maskexp.files import atomic_write
from maskexp.overlay import visible_part
from maskexp.process import keep_freed_memory

__all__ = ["run"]

SHOWN = 5
"""Classes that the terminal shows."""
OWN = "own"
"""Name of the method's own map."""
ONNX = ("maskexp.export.onnx_model", "OnnxModel")
CHECKPOINT = ("maskexp.cli.explain_checkpoint", "CheckpointExplainer")
TIMM = ("maskexp.cli.explain_timm", "TimmExplainer")


def run(verb: str, args: Sequence[str]) -> int:
    """Explain images one after the other."""
    options = _parser(verb, with_names="--help" in args or "-h" in args).parse_args(args)
    keep_freed_memory()
    model = _opened(options.model, options.weights)
    model.choose(options.map)
    out = Path(options.out)
    for path, name in zip(options.images, _names(options.images), strict=True):
        explanation = model.explain(Path(path))
        drawn = _write_maps(out / name, explanation)
        sys.stdout.write(_report(path, drawn, explanation, model.class_names, options.json))
    return 0


def _parser(verb: str, with_names: bool) -> argparse.ArgumentParser:
    """Return the parser; the names of all maps are told by torch's side, and in the help alone."""
    names = importlib.import_module("maskexp.attribution").attribution_names() if with_names else ()
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Print the prediction for each image and write what it was made from: <name>_mask.png, the "
        "attribution (for a network with masks, the mask), and <name>_overlay.png, the image with the rest darkened. A "
        "map that is chosen by --map is written to <name>_<map>.png and <name>_<map>_overlay.png.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="checkpoint of a trained model, a model.onnx from its export, or, "
        "with --weights, the name of a network of timm",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights of a network of timm, with its head: a .safetensors file or a PyTorch state dictionary with "
        "timm's names, or timm for those of its hub; images are prepared as timm's configuration of the network has it",
    )
    parser.add_argument("--out", default="explanations", help="folder of the images (default: %(default)s)")
    parser.add_argument(
        "--map",
        metavar="MAP",
        action="append",
        default=[],
        help=f"explain the predicted class by this map; may be given again (default: {OWN}, of a network of "
        f"timm grad_cam): "
        f"{', '.join((OWN, *names))}; settings stand behind the name, as in rise:masks=4000:hiding=layer",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image, with all logits")
    return parser


def _opened(path: str, weights: str | None) -> Explainer:
    suffix = Path(path).suffix
    if weights is not None:
        if Path(path).is_file():
            raise CommandError(f"{path} is a file, which holds its own weights; leave --weights out, or name a network")
        return _created(TIMM, path, weights)
    if not Path(path).exists():
        raise FileNotFoundError(
            f"there is no file {path!r}; a network of timm goes by its name and --weights FILE (or --weights timm)"
        )
    if suffix == ".pt2":
        raise CommandError(
            f"{path} is a program of torch.export, for torch.export.load; explain the checkpoint, or a model.onnx that "
            "maskexp export wrote"
        )
    return _created(ONNX if suffix == ".onnx" else CHECKPOINT, path)


def _created(where: tuple[str, str], *arguments: str) -> Explainer:
    module, name = where
    opened: Explainer = getattr(importlib.import_module(module), name)(*arguments)
    return opened


def _names(images: Sequence[str]) -> list[str]:
    """Return a name for each image: its stem, numbered where a name comes again."""
    names: list[str] = []
    for image in images:
        stem = name = Path(image).stem
        number = 1
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names


def _write_maps(base: Path, explanation: Explanation) -> list[str]:
    """Write each map and its overlay; return their files."""
    drawn = []
    for each in explanation.maps:
        shown = each.values
        if shown.min() == shown.max():
            sys.stderr.write(f"maskexp: {base.name}: {each.title} has the same value everywhere, and says nothing\n")
        file_name = _file_name(each.name)
        plain, overlay = ("mask", "overlay") if each.name == OWN else (file_name, f"{file_name}_overlay")
        for kind, values in ((plain, shown), (overlay, visible_part(explanation.image / 255, shown))):
            file = f"{base}_{kind}.png"
            with atomic_write(file) as partial:
                Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(partial)
            drawn.append(file)
    return drawn


def _file_name(name: str) -> str:
    """Return the name of a map as part of a file's name on every system."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)


def _report(path: str, pictures: Sequence[str], explanation: Explanation, names: Sequence[str], as_json: bool) -> str:
    probability = explanation.probabilities
    best = np.argsort(-probability, kind="stable").tolist()
    if as_json:
        values = {"image": path, "predicted": names[best[0]], "probability": float(probability[best[0]])}
        by_class = dict(zip(names, explanation.logits.tolist(), strict=True))
        return json.dumps(values | {"logits": by_class, "pictures": list(pictures)}) + "\n"
    classes = ", ".join(f"{names[k]} {probability[k]:.1%}" for k in best[:SHOWN])
    return f"{path}: {classes}\n" + "".join(f"  {picture}\n" for picture in pictures)
