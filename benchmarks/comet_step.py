"""Time a training step of COMET against the bare work of its three networks, side by side in one training.

Usage: python benchmarks/comet_step.py [image_size] [batch_size] [steps]

Ours is what happens between the start of a batch and the end of its backward pass in a real training: masks, both
fills, three networks, objective, backward pass and everything that is logged. The bare work, done right before or after
it on the same batch with the same networks, is a forward and a backward pass of the selector; a forward and a backward
pass of the predictor, to its weights and its input; and a forward and a backward pass of the detector to its input,
which is what no implementation can do without. The order changes from step to step; the figure is the ratio of the
medians of processor time, which other jobs on the machine change less than they change the time on the wall.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import torch
import torch.nn.functional as F
from stopwatch import drawn_birds, median_seconds
from torch import Tensor

from maskexp.methods import COMET
from maskexp.models import Classifier, COMETNetwork


def bare_work(method: COMET, batch: dict[str, Tensor]) -> float:
    """Return the seconds of a forward and a backward pass of each network; leaves no gradient behind."""
    network, label = cast(COMETNetwork, method.network), batch["label"]
    image = batch["image"].detach().clone()
    began = time.process_time()
    network.selector(image).mean().backward()
    image.requires_grad_()
    F.cross_entropy(network.predictor(image).logits, label).backward()
    F.cross_entropy(cast(Classifier, network.detector)(image).logits, label).backward()
    seconds = time.process_time() - began
    method.zero_grad()
    return seconds


def measure(name: str, image_size: int, batch_size: int, steps: int, **arguments: Any) -> None:
    """Print a row of the table."""
    data = drawn_birds(image_size, batch_size, steps)
    method = COMET(schedule="constant", warmup_epochs=0, **arguments)
    # Times do not depend on what the detector knows: it begins at random.
    method.build(data.spec)
    bare, ours = median_seconds(method, data, lambda batch: bare_work(method, batch))
    print(f"| {name} | {bare:.3f} | {ours:.3f} | {ours / bare:.3f} |", flush=True)


def main(image_size: int = 112, batch_size: int = 16, steps: int = 30) -> None:
    """Measure the paper's preset and the released one's objective."""
    torch.set_num_threads(1)
    print(f"{image_size} px, batch of {batch_size}, {steps} steps, one thread, torch {torch.__version__}\n")
    print("| objective | three networks alone [s] | training step [s] | ratio |\n|---|---|---|---|")
    measure("paper", image_size, batch_size, steps)
    measure("hinge, detector_bn: batch", image_size, batch_size, steps, objective="hinge", gap=0.6, detector_bn="batch")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
