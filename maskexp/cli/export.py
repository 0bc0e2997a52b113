"""``maskexp export CKPT OUT``: a trained model as an ONNX file, or as a program of torch.export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from maskexp._version import __version__
from maskexp.cli.arguments import target_file
from maskexp.cli.errors import CommandError
from maskexp.cli.explain_checkpoint import evaluation_pipeline
from maskexp.data.transforms import EvalTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.export.metadata import Metadata, Preprocessing
from maskexp.export.writing import SUFFIXES, write_model
from maskexp.files import readable
from maskexp.methods import Method, load_method
from maskexp.methods.checkpoint import data_spec, read_checkpoint
from maskexp.types import DataSpec

__all__ = ["run"]


def run(verb: str, args: Sequence[str]) -> int:
    """Export a checkpoint, and print how far the file is from it."""
    options = _parser(verb).parse_args(args)
    if Path(options.out).suffix not in SUFFIXES:
        raise CommandError(
            f"maskexp {verb} writes files that end in {' or '.join(SUFFIXES)}, and {options.out!r} does not"
        )
    target_file(options.out)
    checkpoint = read_checkpoint(options.checkpoint)
    spec, pipeline = data_spec(checkpoint), evaluation_pipeline(checkpoint)
    method = load_method(options.checkpoint)
    metadata = _metadata(method, spec, pipeline)
    written = write_model(method, metadata, options.out)
    agreement = ", ".join(f"{name} {difference:.1g}" for name, difference in written.differences.items())
    sys.stdout.write(
        f"{options.out}: {metadata.method} on {metadata.backbone}, {len(spec.class_names)} classes, "
        f"{readable(written.bytes)}\n  largest difference to the checkpoint on noise: {agreement}\n"
    )
    if metadata.preprocessing is None:
        sys.stdout.write("  its images go through a transform of torchvision, so that explain needs the checkpoint\n")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Write a trained model to a file that needs no checkpoint: images in [0, 1] in; logits, masks and "
        "attribution out, for batches of any size. Class names and preprocessing stand in the file.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint of a trained model")
    parser.add_argument(
        "out", metavar="OUT", help="model.onnx for onnxruntime and others, or model.pt2 for torch.export.load"
    )
    return parser


def _metadata(method: Method, spec: DataSpec, pipeline: Pipeline) -> Metadata:
    geometry, (height, width) = pipeline.evaluation, spec.image_size
    plain = type(geometry) is EvalTransform and height == width
    how = Preprocessing(geometry.resize, geometry.crop_fraction, height) if plain else None
    name = f"{spec.name} ({spec.variant})"
    return Metadata(__version__, type(method).__name__, method.backbone, name, spec.class_names, how, {})
