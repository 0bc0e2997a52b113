"""MaxBoxAcc of runs' own maps on the test split, as a table: mean and standard deviation over the runs of a row.

Usage: python benchmarks/boxes.py "NAME=RUN [RUN ...]" ["NAME=RUN [RUN ...]" ...]

`maskexp test` with `Localization(boxes=True)` gives the same beside Grad-CAM and the controls, and spends most of its
time on the random control, whose regions are many. Here the maps are in float32, one thread.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import torch

from maskexp.cli.data_of_checkpoint import data_of_checkpoint
from maskexp.methods import load_method
from maskexp.metrics import MaxBoxAccuracy
from maskexp.types import OWN


@torch.no_grad()
def boxes(run: Path) -> dict[str, float]:
    """Return both versions of MaxBoxAcc of a run's best checkpoint."""
    checkpoint = run / "checkpoints" / "best.ckpt"
    method, data = load_method(checkpoint), data_of_checkpoint(checkpoint, [])
    metrics = [MaxBoxAccuracy("v1"), MaxBoxAccuracy("v2")]
    for batch in data.test_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        prediction = method.explain(batch["image"], batch["label"])
        attribution = prediction.attribution_at(tuple(batch["image"].shape[-2:]), OWN)
        for metric in metrics:
            metric.update(attribution, batch["foreground"], batch["has_foreground"])
    return {name: float(value) for metric in metrics for name, value in metric.compute().items()}


def main(rows: list[str]) -> None:
    """Print a row for each argument."""
    torch.set_num_threads(1)
    print("| row | n | V1 | V2 |\n|---|---|---|---|")
    for row in rows:
        name, _, runs = row.partition("=")
        found = [boxes(Path(run)) for run in runs.split()]
        cells = [_spread([each[key] for each in found]) for key in ("max_box_acc", "max_box_acc_v2")]
        print(f"| {name} | {len(found)} | {' | '.join(cells)} |", flush=True)


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main(sys.argv[1:])
