"""Time dense against sparse inference of DynConv and AIM on a ResNet-50 at 224 × 224, side by side in one process.

Usage: python benchmarks/sparse_inference.py [--network DynConv AIM] [--mask disc scattered] [--batch 1]
           [--repeats 7] [--threads 1]

The masks are given, not estimated: one disc in the middle of each map (an object, whose dilation adds little) or
scattered positions (the worst case). Dense and sparse runs take turns; the table has the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from maskexp.models import AIMNetwork, DynConvNetwork

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
Shape = Callable[[Tensor, float], Tensor]


def disc(mask: Tensor, share: float) -> Tensor:
    """Return the ``share`` of positions of ``(B, 1, h, w)`` that are nearest to the middle."""
    ys, xs = (torch.linspace(-1, 1, size) for size in mask.shape[-2:])
    return nearest_first((ys[:, None] ** 2 + xs**2).flatten(), mask, share)


def scattered(mask: Tensor, share: float) -> Tensor:
    """Return a random ``share`` of the positions of ``(B, 1, h, w)``, the same for each image."""
    order = torch.rand(mask[0].numel(), generator=torch.Generator().manual_seed(0))
    return nearest_first(order, mask, share)


def nearest_first(order: Tensor, mask: Tensor, share: float) -> Tensor:
    """Activate the positions of lowest ``order``, at least one."""
    result = torch.zeros_like(order)
    result[order.argsort()[: max(round(share * len(order)), 1)]] = 1
    return result.view(1, 1, *mask.shape[-2:]).expand_as(mask).contiguous()


def milliseconds(run: Callable[[], object]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def side_by_side(
    network: AIMNetwork | DynConvNetwork, images: Tensor, masks: list[Tensor], repeats: int
) -> list[float]:
    """Return the median times of the dense and of the sparse network, which take turns."""
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 1):
        for kind, below in enumerate((0.0, 1.0)):
            network.sparse_inference(below)
            spent = milliseconds(lambda: network(images, masks))
            if repeat:  # the first round warms up
                times[kind].append(spent)
    return [statistics.median(values) for values in times]


def rows(name: str, network: AIMNetwork | DynConvNetwork, images: Tensor, shape: Shape, repeats: int) -> None:
    """Print a row for each share of active positions."""
    templates = network(images).masks
    for share in SHARES:
        masks = [shape(mask, share) for mask in templates]
        dense, sparse = side_by_side(network, images, masks, repeats)
        macs = network(images, masks).extras.get("macs")
        cost = f"{macs.mean() / 1e9:.2f}" if isinstance(macs, Tensor) else "–"
        print(
            f"| {name} | {shape.__name__} | {share:.0%} | {cost} | {dense:.0f} | {sparse:.0f} | {dense / sparse:.2f} |",
            flush=True,
        )


NETWORKS = {"DynConv": DynConvNetwork, "AIM": AIMNetwork}
SHAPES: dict[str, Shape] = {"disc": disc, "scattered": scattered}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--mask", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images = torch.rand(arguments.batch, 3, 224, 224)
    print("| network | mask | active | GMAC | dense ms | sparse ms | speed-up |")
    print("|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        for name in arguments.network:
            network = NETWORKS[name]("resnet50", 200, weights=None).eval().to(memory_format=torch.channels_last)
            for shape in arguments.mask:
                rows(name, network, images, SHAPES[shape], arguments.repeats)


if __name__ == "__main__":
    main()
