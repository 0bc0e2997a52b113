"""Time training steps of the masked classifiers against the bare backbone, side by side in one training.

Usage: python benchmarks/step.py [--size 160] [--batch 32] [--steps 8] [--backbones NAME ...] [--rows NAME ...]
                                 [--learning] [--bf16]

Ours is what happens between the start of a batch and the end of its backward pass in a real training. The bare work,
done right before or after it on the same batch, is a forward pass of the row's own backbone, and its backward pass
where the backbone learns. The figure is the ratio of the medians of processor time. With --learning rows with a frozen
backbone are left out; with --bf16 both are autocast to bfloat16. A row that a network cannot be trained as is a row of
dashes.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, cast

import torch
from stopwatch import Precision, drawn_birds, median_seconds

from maskexp.methods import AIM, ERM, BottomUp
from maskexp.methods.base import Method
from maskexp.models.backbones import Backbone
from maskexp.process import keep_freed_memory

ROWS: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "ERM": (ERM, {}),
    "AIM[1]": (AIM, {"stages": 1}),
    "AIM[2]": (AIM, {"stages": 2}),
    "AIM[2], pyramid": (AIM, {"stages": 2, "estimator_input": "pyramid", "pooling": "active"}),
    "AIM[3], pyramid, narrow": (  # of experiments/synthetic/transformers_study.yaml
        AIM,
        {"stages": 3, "estimator_input": "pyramid", "pooling": "active", "feature_width": 64, "branch_kernel": 1},
    ),
    "AIM[2], auto": (AIM, {"stages": 2, "tau": "auto"}),
    "BottomUp[2]": (BottomUp, {"stages": 2}),
}


def bare_work(backbone: Backbone, batch: dict[str, torch.Tensor], precision: Precision) -> float:
    """Return the seconds of a forward pass of the backbone, and of a backward pass where it learns."""
    began = time.process_time()
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with half, torch.set_grad_enabled(not backbone.frozen):
        features = backbone(batch["image"])
    if not backbone.frozen:
        features[-1].mean().backward()
    return time.process_time() - began


def measure(
    name: str, backbone: str, frozen: bool, image_size: int, batch_size: int, steps: int, precision: Precision
) -> None:
    """Print a row of the table."""
    kind, arguments = ROWS[name]
    data = drawn_birds(image_size, batch_size, steps)
    method = kind(
        backbone=backbone, weights=None, frozen_backbone=frozen, schedule="constant", warmup_epochs=0, **arguments
    )
    kept = "frozen" if frozen else "learns"
    try:
        method.build(data.spec)
    except ValueError as reason:
        print(f"| {backbone} | {kept} | {name} | – | – | – | – |", flush=True)
        print(reason, file=sys.stderr)
        return
    bare = Backbone(backbone, 1, None, (image_size, image_size), frozen)
    bare = cast(Any, bare).to(memory_format=torch.channels_last).train()
    work, ours = median_seconds(method, data, lambda batch: bare_work(bare, batch, precision), precision)
    rate = batch_size / ours
    print(f"| {backbone} | {kept} | {name} | {work:.3f} | {ours:.3f} | {ours / work:.2f} | {rate:.0f} |", flush=True)


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser()
    for flag, default in (("--size", 160), ("--batch", 32), ("--steps", 8)):
        parser.add_argument(flag, type=int, default=default)
    parser.add_argument("--backbones", nargs="+", default=["tf_efficientnet_lite0", "resnet18"])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="NAME")
    parser.add_argument("--learning", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    precision: Precision = "bf16-mixed" if options.bf16 else "32-true"
    print(
        f"{options.size} px, batch of {options.batch}, {options.steps} steps, {precision}, torch {torch.__version__}\n"
    )
    print("| backbone | it | row | backbone alone [s] | training step [s] | ratio | images/s |")
    print("|---|---|---|---|---|---|---|")
    for backbone in options.backbones:
        for frozen in (False,) if options.learning else (True, False):
            for name in options.rows:
                measure(name, backbone, frozen, options.size, options.batch, options.steps, precision)


if __name__ == "__main__":
    main()
