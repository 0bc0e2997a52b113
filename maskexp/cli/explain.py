"""``maskexp explain CKPT IMAGE...``: what a trained model decides about any image, and from which part of it."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskexp.attribution import (
    add_attributions,
    attribution_names,
    map_title,
    report_progress,
    require_maps,
    validated_maps,
)
from maskexp.callbacks.figure import visible_part
from maskexp.cli.terminal import ProgressNotes, note
from maskexp.data.loading.pixels import read_rgb
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.data.transforms.stored import eval_transform
from maskexp.files import atomic_write
from maskexp.methods import Method, load_method
from maskexp.methods.checkpoint import data_spec, read_checkpoint
from maskexp.types import OWN, Prediction

__all__ = ["evaluation_pipeline", "prepare_image", "run"]

SHOWN = 5
"""Classes that the terminal shows."""


def run(verb: str, args: Sequence[str]) -> int:
    """Explain images one after the other."""
    options = _parser(verb).parse_args(args)
    maps = _maps(options.map)
    pipeline = evaluation_pipeline(read_checkpoint(options.checkpoint))
    method = load_method(options.checkpoint)
    require_maps(method.network, maps)
    out = Path(options.out)
    for path, name in zip(options.images, _names(options.images), strict=True):
        image = prepare_image(Path(path), pipeline)
        pixels = image[None].float() / 255
        with torch.no_grad(), report_progress(ProgressNotes()):
            prediction = method.explain(pixels)
            add_attributions(prediction, method.network, pixels, maps=maps)
        drawn = _write_maps(out / name, image, prediction, maps)
        sys.stdout.write(_report(path, drawn, method, prediction, options.json))
    return 0


def evaluation_pipeline(checkpoint: dict[str, Any]) -> Pipeline:
    """Return how the images of a checkpoint's evaluation were resized and cropped."""
    transform = eval_transform(checkpoint.get("datamodule_hyper_parameters", {}))
    return Pipeline(data_spec(checkpoint).image_size[0], evaluation=transform)


def prepare_image(path: Path, pipeline: Pipeline) -> Tensor:
    """Return an image file as uint8 ``(3, S, S)``, exactly as ``validate``, ``test`` and ``predict`` see it."""
    pixels = read_rgb(path)
    # Data sets carry the foreground as a fourth channel; with it, resizing takes the same path to the last bit.
    return pipeline.evaluate(torch.cat([pixels, torch.zeros_like(pixels[:1])]))[:3]


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Print the prediction for each image and write what it was made from: <name>_mask.png, the "
        "attribution (for a network with masks, the mask), and <name>_overlay.png, the image with the rest darkened. A "
        "map that is chosen by --map is written to <name>_<map>.png and <name>_<map>_overlay.png.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint of a trained model")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--out", default="explanations", help="folder of the images (default: %(default)s)")
    parser.add_argument(
        "--map",
        metavar="MAP",
        action="append",
        default=[],
        help=f"explain the predicted class by this map; may be given again (default: {OWN}): {OWN}, "
        f"{', '.join(attribution_names())}; settings stand behind the name, as in rise:masks=4000:hiding=layer",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image, with all logits")
    return parser


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


def _maps(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the maps, given one by one or as lists."""
    given = [name for text in names for name in text.strip("[] ").split(",")]
    return validated_maps([name.strip() for name in given] or [OWN])


def _write_maps(base: Path, image: Tensor, prediction: Prediction, maps: Sequence[str]) -> list[str]:
    """Write each map and its overlay; return their files."""
    pixels = image.permute(1, 2, 0).numpy() / 255
    drawn = []
    for name in maps:
        attribution = prediction.attribution_at((image.shape[-2], image.shape[-1]), name)
        if attribution is None:
            continue
        shown = attribution[0, 0].numpy()
        if shown.min() == shown.max():
            note(f"{base.name}: {map_title(name)} has the same value everywhere, and says nothing")
        plain, overlay = ("mask", "overlay") if name == OWN else (_file_name(name), f"{_file_name(name)}_overlay")
        for kind, values in ((plain, shown), (overlay, visible_part(pixels, shown))):
            file = f"{base}_{kind}.png"
            with atomic_write(file) as partial:
                Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(partial)
            drawn.append(file)
    return drawn


def _file_name(name: str) -> str:
    """Return the name of a map as part of a file's name on every system."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)


def _report(path: str, pictures: Sequence[str], method: Method, prediction: Prediction, as_json: bool) -> str:
    if method.spec is None:
        raise ValueError("the method was loaded without the specification of its data")
    logits = prediction.logits[0].float()
    probability = logits.softmax(dim=0)
    names = method.spec.class_names
    best = probability.argsort(descending=True).tolist()
    if as_json:
        values = {"image": path, "predicted": names[best[0]], "probability": float(probability[best[0]])}
        by_class = dict(zip(names, logits.tolist(), strict=True))
        return json.dumps(values | {"logits": by_class, "pictures": list(pictures)}) + "\n"
    classes = ", ".join(f"{names[k]} {probability[k]:.1%}" for k in best[:SHOWN])
    return f"{path}: {classes}\n" + "".join(f"  {picture}\n" for picture in pictures)
