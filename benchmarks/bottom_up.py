"""Draw the active share of masks over the epochs, from the CSV logs of a study's runs.

Usage: python benchmarks/bottom_up.py experiments/synthetic/bottom_up_study.yaml runs/bottom_up OUT.png [row ...]

Each row is a colour, each seed a thin line, and their mean a thick one; stage 1 is the deepest.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskexp.cli.matrix import open_study
from maskexp.studies import Runs

LABELS = {
    "aim": "AIM, area loss",
    "bottom_up": "BottomUp, area loss",
    "bottom_up_free": "BottomUp, no area loss",
    "bottom_up_free_all": "BottomUp, no area loss, all cells pooled",
    "aim_free": "AIM, no area loss",
    "aim_free_all": "AIM, no area loss, all cells pooled",
}


def read_shares(log: Path, stage: int) -> list[float]:
    """Return the active share of the validation masks at the end of each epoch of training."""
    with log.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(f"val/mask_area_stage_{stage}")]
    # The last row is the selected checkpoint once more.
    return [float(row[f"val/mask_area_stage_{stage}"]) for row in rows[:-1]]


def draw(axes: Axes, logs: dict[str, list[Path]], stage: int) -> None:
    """Draw all runs of one stage."""
    for number, (name, paths) in enumerate(logs.items()):
        seeds = [read_shares(path, stage) for path in paths]
        epochs = range(1, len(seeds[0]) + 1)
        for shares in seeds:
            axes.plot(epochs, shares, color=f"C{number}", linewidth=0.6, alpha=0.5)
        mean = [statistics.mean(shares) for shares in zip(*seeds, strict=True)]
        axes.plot(epochs, mean, color=f"C{number}", linewidth=2, label=LABELS.get(name, name))
    axes.set_title(f"stage {stage}" + (", the deepest" if stage == 1 else ""))
    axes.set_xlabel("epoch")
    axes.set_xticks(range(0, len(epochs) + 1, 5))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)


def main(file: str, root: str, plot: str, *names: str) -> None:
    """Draw the named rows, by default all that have a label."""
    study, runs = open_study(file), Runs(root)
    logs: dict[str, list[Path]] = defaultdict(list)
    for name in names or LABELS:
        for run in map(runs.folder, study.row(name).cells):
            if (run / "DONE").exists():
                logs[name] += sorted(run.glob("logs/*/metrics.csv"))[-1:]
    figure = Figure(figsize=(9, 4.2), dpi=100, layout="constrained")
    for stage, axes in enumerate(figure.subplots(1, 2, sharey=True), start=1):
        draw(axes, logs, stage)
    figure.axes[0].set_ylabel("active share of the validation masks")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(plot)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
