"""What hiding a region costs: forward passes side by side, plain, and with each way of hiding in a network.

Usage:
    python benchmarks/layer_masking.py [NETWORK ...] [--rounds N] [--batch B] [--threads T]

NETWORK is timm's name, resnet50 if not given; weights are random, which changes no time. Images are 224², half of their
16×16 patches are hidden at random. The ways take turns within a round; a figure is the median over the rounds, of the
processor time and of its ratio to the plain forward pass of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch

from maskexp.masking.inputs import Grey, LayerMasking, PartialConvolution

SIZE, PATCH = 224, 16


def ways(network: torch.nn.Module, batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, SIZE, SIZE, generator=generator).to(memory_format=torch.channels_last)
    cells = torch.rand(batch, 1, SIZE // PATCH, SIZE // PATCH, generator=generator) < 0.5
    visible = cells.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    everything = torch.ones_like(visible)
    return {
        "plain": lambda: network(images),
        "grey": lambda: Grey()(network, images, visible),
        "layer masking": lambda: LayerMasking()(network, images, visible),
        "layer masking, zero padding": lambda: LayerMasking("zero")(network, images, visible),
        "layer masking, nothing hidden": lambda: LayerMasking()(network, images, everything),
        "partial convolution": lambda: PartialConvolution()(network, images, visible),
    }


def seconds(run: Callable[[], object]) -> float:
    """Return the processor time of one call, which is less disturbed by what else runs on a machine."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


@torch.inference_mode()
def main() -> None:
    """Measure and print a Markdown table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["resnet50"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| network | way | ms an image | × plain | of the rounds |\n|---|---|---|---|---|")
    for name in arguments.networks:
        network = timm.create_model(name).eval().to(memory_format=torch.channels_last)
        measured = ways(network, arguments.batch)
        for run in measured.values():
            run()
        rounds = [{way: seconds(run) for way, run in measured.items()} for _ in range(arguments.rounds)]
        for way in measured:
            ratios = [taken[way] / taken["plain"] for taken in rounds]
            each = 1000 * statistics.median(taken[way] for taken in rounds) / arguments.batch
            spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
            print(f"| {name} | {way} | {each:.0f} | {statistics.median(ratios):.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
