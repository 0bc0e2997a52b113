"""Every post-hoc map on one classifier of photographs: localisation, fidelity, insertion and deletion, time.

Usage:
    python benchmarks/posthoc_birds.py CKPT ROOT OUT.json [--images N] [--maps MAP ...]
    python benchmarks/posthoc_birds.py CKPT ROOT OUT.png --gallery [--images N] [--maps MAP ...]

CKPT is a classifier trained on a data set in WaterBirds' layout, ROOT its folder. Judged are N images of the test
split, drawn with seed 0, as many of each group, in an order in which groups take turns. After each four OUT.json is
written anew, so that a run that is stopped leaves the numbers of those before; at the end they are printed as a table.
Images a second are of one thread's processor time for the map alone, in batches of four images.

With --gallery a picture is drawn instead: an image a row, its foreground's outline in it, a map a column.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from maskexp.attribution import attribution_map, map_title
from maskexp.data import WaterBirds
from maskexp.evaluation import Fidelity, InsertionAndDeletion, Localization
from maskexp.methods import load_method
from maskexp.types import Batch

AT_ONCE = 4
MAPS = [
    *("cam", "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "layer_cam", "ablation_cam", "score_cam"),
    *("input_x_gradient", "integrated_gradients", "smooth_grad", "occlusion", "rise:masks=300", "lime:samples=200"),
]
COLUMNS = {
    "EPG ↑": "localization/epg",
    "PxAP ↑": "localization/pxap",
    "PxAP, per image ↑": "localization/pxap_image",
    "pointing game ↑": "localization/pointing_game",
    "accuracy without 10 % ↓": "fidelity/grey/pipeline/10",
    "without 20 % ↓": "fidelity/grey/pipeline/20",
    "insertion ↑": "insertion/blur/pipeline",
    "deletion ↓": "deletion/grey/pipeline",
    "constant maps": "localization/constant_maps",
    "images a second": "images_a_second",
}


def chosen_rows(data: WaterBirds, images: int) -> list[int]:
    """Return rows of the test split that have a foreground, drawn with seed 0, groups in turns."""
    group = torch.from_numpy(data.dataset("test").group)
    generator = torch.Generator().manual_seed(0)
    groups = [(group == each).nonzero()[:, 0] for each in group.unique().tolist()]
    drawn = [rows[torch.randperm(len(rows), generator=generator)] for rows in groups]
    return [int(rows[i]) for i in range(-(-images // len(drawn))) for rows in drawn][:images]


def judge(method: Any, data: WaterBirds, rows: list[int], maps: list[str], out: Path) -> dict[str, dict[str, float]]:
    """Return the columns of each map; written after each batch."""
    evaluations = [
        Localization(maps=maps),
        Fidelity(maps=maps, shares=(0.1, 0.2), paths=("pipeline",)),
        InsertionAndDeletion(maps=maps, steps=8, paths=("pipeline",)),
    ]
    for evaluation in evaluations:
        evaluation.prepare(method.spec, method.network)
    seconds = dict.fromkeys(maps, 0.0)
    found: dict[str, dict[str, float]] = {}
    for start in range(0, len(rows), AT_ONCE):
        batch: Batch = data.fetch("test", rows[start : start + AT_ONCE])
        with torch.no_grad():
            prediction = method(batch["image"])
        for name in maps:
            begin = time.process_time()
            explain = attribution_map(name)
            prediction.attributions[name] = explain(method.network, batch["image"], batch["label"], prediction.features)
            seconds[name] += time.process_time() - begin
        for evaluation in evaluations:
            evaluation.update(method, batch, prediction)
        done = start + len(batch["label"])
        values = {str(key): float(value) for each in evaluations for key, value in each.compute().items()}
        values |= {f"images_a_second_{name}": done / taken for name, taken in seconds.items()}
        judged = [*maps, "random", "centred_gaussian", "ground_truth"]
        found = {
            name: {c: values[f"{k}_{name}"] for c, k in COLUMNS.items() if f"{k}_{name}" in values} for name in judged
        }
        record = {"images": done, "accuracy": values["fidelity/pipeline/00"], "maps": found}
        out.write_text(json.dumps(record, indent=1))
        sys.stderr.write(f"{done} of {len(rows)} images\n")
    return found


def draw(method: Any, data: WaterBirds, rows: list[int], maps: list[str], out: Path) -> None:
    """Draw an image a row, a map a column."""
    mpl.use("Agg")
    batch: Batch = data.fetch("test", rows)
    images, size = batch["image"], batch["image"].shape[-2:]
    with torch.no_grad():
        prediction = method(images)
    figure, axes = plt.subplots(
        len(rows), len(maps) + 1, figsize=(1.25 * (len(maps) + 1), 1.25 * len(rows) + 0.5), squeeze=False
    )
    for name in maps:
        explain = attribution_map(name)
        prediction.attributions[name] = explain(method.network, images, batch["label"], prediction.features)
    names = method.spec.class_names
    predicted = prediction.logits.argmax(dim=1).tolist()
    for i, row in enumerate(axes):
        pixels = images[i].permute(1, 2, 0).numpy()
        row[0].imshow(pixels)
        row[0].contour(batch["foreground"][i, 0].float().numpy(), [0.5], colors="yellow", linewidths=0.7)
        row[0].set_ylabel(f"{names[int(batch['label'][i])]}\nseen as {names[predicted[i]]}", fontsize=6)
        for axis, name in zip(row[1:], maps, strict=True):
            axis.imshow(pixels)
            shown = prediction.attribution_at((size[0], size[1]), name)
            if shown is not None:
                axis.imshow(shown[i, 0].numpy(), cmap="inferno", alpha=0.65, vmin=0, vmax=1)
            if i == 0:
                axis.set_title(map_title(name).replace(" (", "\n("), fontsize=6)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Judge the maps, or draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--maps", nargs="+", default=MAPS)
    parser.add_argument("--gallery", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    method = load_method(arguments.checkpoint)
    method.eval()
    data = WaterBirds(str(arguments.root), image_size=method.spec.image_size[0], num_workers=0)
    rows = chosen_rows(data, arguments.images)
    if arguments.gallery:
        draw(method, data, rows, arguments.maps, arguments.out)
        return
    found = judge(method, data, rows, arguments.maps, arguments.out)
    print("| map | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    for name, values in found.items():
        cells = [f"{values[column]:.3g}" if column in values else "" for column in COLUMNS]
        print(f"| {map_title(name)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
