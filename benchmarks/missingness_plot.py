"""Draw missingness curves of several runs of imagenet_photos.py beside the released ones of layer masking.

Usage:
    python benchmarks/missingness_plot.py OUT.png TITLE=RUN[,RUN …] …

One column a title, which joins the lines of its runs; rows are accuracy and class entropy under random removal of 16×16
patches. Dashed are the released curves of Balasubramanian & Feizi (ICCV 2023) for torchvision's ResNet-50 on 1408
images, which are other weights and other images: a comparison of shapes.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

QUANTITIES = {"acc": "accuracy", "class_entropy": "class entropy (nats)"}
COLOURS = {"black": "black", "grey": "tab:grey", "edge_smoothed": "tab:orange", "layer": "tab:blue"}
RELEASED = {
    "acc": {
        "grey": (0.919, 0.808, 0.542, 0.273, 0.104, 0.038, 0.011, 0.006, 0.002, 0.001, 0.001),
        "edge_smoothed": (0.919, 0.827, 0.617, 0.358, 0.151, 0.055, 0.019, 0.007, 0.003, 0.003, 0.001),
        "layer": (0.919, 0.911, 0.887, 0.854, 0.802, 0.729, 0.597, 0.433, 0.227, 0.073, 0.000),
    },
    "class_entropy": {
        "grey": (6.48, 6.42, 5.95, 4.73, 3.35, 2.43, 1.87, 1.64, 1.58, 1.75, 0),
        "edge_smoothed": (6.48, 6.44, 6.14, 5.23, 3.94, 2.86, 2.20, 1.91, 1.76, 2.04, 0),
        "layer": (6.48, 6.48, 6.48, 6.47, 6.45, 6.42, 6.36, 6.16, 5.70, 5.06, 0),
    },
}


def read_lines(runs: list[Path], quantity: str) -> tuple[list[float], dict[str, list[float]]]:
    """Return the removed fractions and the line of each way of hiding."""
    fractions: list[float] = []
    lines: dict[str, list[float]] = {}
    for run in runs:
        with (run / "missingness" / f"patches16_random_{quantity}.csv").open(newline="") as file:
            names, *rows = csv.reader(file)
        columns = [[float(value) for value in column] for column in zip(*rows, strict=True)]
        fractions, lines = columns[0], lines | dict(zip(names[1:], columns[1:], strict=True))
    return fractions, lines


def main(out: str, *groups: str) -> None:
    """Draw and save."""
    figure = Figure(figsize=(4.6 * len(groups), 6.4), dpi=80, layout="constrained")
    axes = figure.subplots(2, len(groups), sharex=True, sharey="row", squeeze=False)
    for column, group in enumerate(groups):
        title, _, runs = group.partition("=")
        for axis, (quantity, label) in zip(axes[:, column], QUANTITIES.items(), strict=True):
            fractions, lines = read_lines([Path(run) for run in runs.split(",")], quantity)
            for name, line in lines.items():
                axis.plot(fractions, line, color=COLOURS.get(name), marker="o", markersize=3, label=name)
            for name, released in RELEASED[quantity].items():
                axis.plot([d / 10 for d in range(11)], released, "--", color=COLOURS[name], linewidth=1, alpha=0.7)
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("removed fraction of 16×16 patches, random order")
        axes[0, column].plot([], [], "k--", linewidth=1, label="released, torchvision's ResNet-50")
        axes[0, column].legend(fontsize="small", frameon=False)
    figure.savefig(out)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
