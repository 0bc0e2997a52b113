"""Summarise runs that differ in their seed alone, as a Markdown table of mean ± standard deviation.

Usage: python benchmarks/seeds.py runs/synthetic [key ...]

Every directory ``<name>-seed<k>`` with a ``metrics.json`` is one run; the rows are the names.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

KEYS = ("acc", "acc_worst_group", "epg", "epg_baseline", "epg_grad_cam", "pxap", "pxap_grad_cam", "mask_area")


def read_runs(root: Path) -> dict[str, list[dict[str, float]]]:
    """Return the metrics of each run that has ended, by name."""
    runs = defaultdict(list)
    for path in sorted(root.glob("*-seed*/metrics.json")):
        if (path.parent / "DONE").exists():
            runs[re.sub(r"-seed\d+$", "", path.parent.name)].append(json.loads(path.read_text()))
    return dict(runs)


def cell(values: list[float], runs: int) -> str:
    """Return mean ± standard deviation (ddof = 1) and, unless all runs have a value, of how many; one has no ±."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
    return mean if len(values) == runs else f"{mean} (n={len(values)})"


def main(root: str, *keys: str) -> None:
    """Print the table of the test split."""
    keys = keys or KEYS
    print("| run | n | " + " | ".join(keys) + " |")
    print("|---|---|" + "---|" * len(keys))
    for name, runs in read_runs(Path(root)).items():
        cells = [cell([run[f"test/{key}"] for run in runs if f"test/{key}" in run], len(runs)) for key in keys]
        print(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
