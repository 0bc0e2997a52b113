"""Put an evaluation to a pretrained ImageNet classifier on a folder of labelled photographs, without any training.

Usage:
    python benchmarks/imagenet_photos.py FOLDER BACKBONE WEIGHTS OUT EVALUATION [JSON [PRECISION]]

FOLDER holds ``labels.csv`` with the columns ``image`` and ``class_index``; BACKBONE is timm's name or one of our
variants; WEIGHTS is a file with its 1000-class head; EVALUATION names a class of ``maskexp.evaluation``, and JSON its
arguments, e.g.

    python benchmarks/imagenet_photos.py PHOTOS resnet50_v1 resnet50_v1.safetensors out Missingness \
        '{"hiding": ["grey", "layer"], "orders": ["random"]}'

Photographs keep their aspect: short side 224, centre crop of 224². PRECISION is ``bf16`` (autocast; twice as fast on
CPUs that have it) or ``fp32``. The result is OUT/metrics.json, and the charts as PNG and CSV.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

import maskexp.evaluation
from maskexp.data import Manifest
from maskexp.data.transforms import EvalTransform
from maskexp.methods import ERM
from maskexp.results.charts import write_charts

BATCH = 50


def photographs(folder: Path, out: Path) -> Manifest:
    """Return the photographs as a data module whose test split holds all of them."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = [(row["image"], row["class_index"], "test") for row in csv.DictReader(file)]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "photographs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])
    return Manifest(
        str(folder), csv=str(out / "photographs.csv"), eval_transform=EvalTransform("center_crop"), num_workers=0
    )


@torch.inference_mode()
def main(
    folder: str,
    backbone: str,
    weights: str,
    out: str,
    name: str,
    arguments: str = "{}",
    precision: str = "bf16",
) -> None:
    """Evaluate, and write down what was found."""
    torch.set_num_threads(1)
    data = photographs(Path(folder), Path(out))
    subject = ERM(backbone, weights)
    subject.build(data.spec, pretrained=True)
    subject.eval()
    evaluation: Any = getattr(maskexp.evaluation, name)(**json.loads(arguments))
    evaluation.prepare(data.spec, subject.network)
    rows = range(0, len(data.dataset("test")), evaluation.every)
    hits, begin = 0, time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for first in range(0, len(rows), BATCH):
            batch: Any = data.fetch("test", rows[first : first + BATCH])
            batch["image"] = batch["image"].to(memory_format=torch.channels_last)
            prediction = subject(batch["image"])
            hits += int((prediction.logits.argmax(dim=1) == batch["label"]).sum())
            evaluation.update(subject, batch, prediction)
            seen = first + len(batch["label"])
            found = {str(key): value.item() for key, value in evaluation.compute().items()}
            found |= {"correct": hits, "photographs": seen, "cpu_seconds": round(time.process_time() - begin)}
            # After each batch: a run that is stopped leaves what it has found.
            Path(out, "metrics.json").write_text(json.dumps(found, indent=1) + "\n")
            write_charts(evaluation.charts(), Path(out))
            print(f"{seen} of {len(rows)}, {found['cpu_seconds']} s", file=sys.stderr)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
