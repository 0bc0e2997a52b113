"""What AIM adds to a backbone, by part, and which widths fit the overhead that its paper states.

Usage: python benchmarks/aim_cost.py

The numbers are counted from shapes alone, without computing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskexp.masking.estimators import AIMEstimator
from maskexp.models import AIMNetwork
from maskexp.models.backbones import Backbone

SIZE = (224, 224)
BACKBONES = ("convnext_tiny", "resnet50", "tf_efficientnet_lite0")
PUBLISHED = {"GMAC": (0.1, 1.0), "M parameters": (1.9, 3.7)}
"""The least and the most that AIM adds to ConvNeXt-T, as a summary of its paper says."""
DEFAULTS: dict[str, Any] = {
    "feature_width": 256,
    "branch_kernel": 3,
    "estimator_input": "stage",
    "estimator_reduction": 8,
    "estimator_blocks": 3,
    "global_branch": True,
    "initial_bias": 2.0,
    "gumbel": "sigmoid",
    "temperature": 1.0,
    "eval_noise": False,
    "pooling": "all",
    "sparse_below": 0.0,
}


def backbone_macs(backbone: Backbone, images: torch.Tensor) -> float:
    """Return the multiply-accumulates of a backbone on images, in 10⁹."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.eval()(images)
    return counter.get_total_flops() / 2e9


def macs(module: nn.Module, feature: torch.Tensor) -> float:
    """Return the multiply-accumulates of an estimator or a branch, whose convolutions all keep the grid, in 10⁹."""
    pooled = getattr(module, "global_branch", None)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    positions = feature.shape[-2] * feature.shape[-1]
    return sum(layer.weight.numel() * (1 if layer is pooled else positions) for layer in layers) / 1e9


def size(*modules: nn.Module) -> float:
    """Return the parameters of modules, in 10⁶."""
    return sum(p.numel() for module in modules for p in module.parameters()) / 1e6


def parts(backbone: str, stages: int) -> None:
    """Print a row of the table of parts."""
    with torch.device("meta"):
        images = torch.zeros(1, 3, *SIZE)
        network = AIMNetwork(backbone, 200, weights=None, stages=stages, image_size=SIZE, **DEFAULTS)
        bare = backbone_macs(network.backbone, images)
        features = network.backbone(images)[::-1]
        estimators = sum(macs(*pair) for pair in zip(network.estimators, features, strict=True))
        branches = sum(macs(*pair) for pair in zip(network.branches, features, strict=True))
    channels = "/".join(str(feature.shape[1]) for feature in features)
    ratio = (bare + estimators + branches) / bare
    added = size(network) - size(network.backbone)
    print(
        f"| {backbone} | {stages} | {channels} | {bare:.2f} | {estimators:.3f} | {branches:.3f} | {ratio:.2f} | "
        f"{added:.2f} |"
    )


def added(
    features: Sequence[torch.Tensor], width: int, kernel: int, hidden: Sequence[int], blocks: int
) -> list[tuple[float, float]]:
    """Return GMAC and parameters (10⁶) that AIM[1], AIM[2], … add with given widths, without the classifiers."""
    gmac, million, totals = 0.0, 0.0, []
    for feature, middle in zip(features, hidden, strict=True):
        channels = feature.shape[1]
        branch = nn.Sequential(nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, kernel, padding=kernel // 2))
        estimator = AIMEstimator(channels, middle, blocks)
        gmac += macs(branch, feature) + macs(estimator, feature)
        million += size(branch, estimator)
        totals.append((gmac, million))
    return totals


def candidates() -> None:
    """Print what comes within a fifth of all four published numbers for ConvNeXt-T, the closest first."""
    (least_mac, most_mac), (least_size, most_size) = PUBLISHED.values()
    found: list[tuple[float, str]] = []
    with torch.device("meta"):
        backbone = Backbone("convnext_tiny", 4, None, SIZE)
        features = backbone(torch.zeros(1, 3, *SIZE))[::-1]
        channels = [feature.shape[1] for feature in features]
        hidden = {f"C/{r}": [c // r for c in channels] for r in (4, 6, 8, 12, 16)}
        hidden |= {str(w): [w] * 4 for w in (32, 48, 64, 96, 128)}
        for width, kernel, name, blocks in product((64, 96, 128, 192, 256, 384), (1, 3), hidden, (1, 2, 3)):
            totals = added(features, width, kernel, hidden[name], blocks)
            for deepest in (2, 3, 4):
                (low_mac, low_size), (high_mac, high_size) = totals[0], totals[deepest - 1]
                ratios = (low_mac / least_mac, high_mac / most_mac, low_size / least_size, high_size / most_size)
                off = max(abs(ratio - 1) for ratio in ratios)
                if off <= 0.2:
                    row = (
                        f"| {width} | {kernel}×{kernel} | {name} | {blocks} | AIM[1] to AIM[{deepest}] | "
                        f"{low_mac:.2f} to {high_mac:.2f} | {low_size:.2f} to {high_size:.2f} | {off:.0%} |"
                    )
                    found.append((off, row))
    print(f"\n{len(found)} choices come within a fifth of all four numbers:\n")
    print(
        "| branch width | its 2nd convolution | estimator width | blocks | range | GMAC | parameters [10⁶] | off by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for _, row in sorted(found):
        print(row)


def main() -> None:
    """Print both tables."""
    print("| backbone | stages | channels | backbone [GMAC] | estimators | branches | ratio | added parameters [10⁶] |")
    print("|---|---|---|---|---|---|---|---|")
    for backbone, stages in product(BACKBONES, (1, 2, 3)):
        parts(backbone, stages)
    candidates()


if __name__ == "__main__":
    main()
