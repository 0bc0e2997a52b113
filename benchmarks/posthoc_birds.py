"""Every post-hoc map on one classifier of photographs: localisation, fidelity, insertion and deletion, time.

Usage:
    python benchmarks/posthoc_birds.py ROOT OUT.json --checkpoint CKPT [--images N] [--cheap-images M] [--maps MAP ...]
    python benchmarks/posthoc_birds.py ROOT OUT.png --checkpoint CKPT --gallery [--images N] [--maps MAP ...]

CKPT is a classifier trained on a data set in WaterBirds' layout, for example of
experiments/real95/tf_efficientnet_lite0_erm.yaml, ROOT the folder of the data. All maps are judged on the same N images
of the test split, drawn with seed 0, as many of each group, in an order in which groups take turns; maps that cost
little (CHEAP below) on M images too, of which those N are the first. The table says for each row on how many.

Maps are kept in the folder OUT.maps, what they are worth in OUT.json, which is written anew after a few maps. Started
again with the same arguments, a run that was stopped goes on: what is done is not computed again, and more images or
maps are added to what is there. Images a second are of one thread's processor time for the map alone, in batches of
four images.

With --gallery a picture is drawn instead: an image a row, its foreground's outline in it, a map a column.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from maskexp.attribution import attribution_map, map_title
from maskexp.data import WaterBirds
from maskexp.evaluation import Fidelity, InsertionAndDeletion, Localization
from maskexp.files import atomic_write
from maskexp.methods import load_method
from maskexp.process import keep_freed_memory
from maskexp.types import Batch

AT_ONCE, KEPT_AFTER, JUDGED_AT_ONCE = 4, 8, 4
"""Images in a batch, batches after which maps are kept, and maps that are judged beside one random control."""
CHEAP = (*("cam", "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "layer_cam", "ablation_cam", "input_x_gradient"),)
DEAR = (*("score_cam", "integrated_gradients", "smooth_grad", "occlusion", "rise:masks=1000", "lime:samples=500"),)
CONTROLS = ("random", "centred_gaussian", "ground_truth")
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
    """Return rows of the test split that have a foreground, drawn with seed 0, groups in turns.

    The rows for fewer images are the first of those for more.
    """
    group = torch.from_numpy(data.dataset("test").group)
    generator = torch.Generator().manual_seed(0)
    groups = [(group == each).nonzero()[:, 0] for each in group.unique().tolist()]
    drawn = [rows[torch.randperm(len(rows), generator=generator)] for rows in groups]
    most = len(drawn) * min(map(len, drawn))
    if images > most:
        sys.exit(f"the smallest group has images for {most} in turns; give no more, not {images}")
    return [int(rows[i]) for i in range(-(-images // len(drawn))) for rows in drawn][:images]


def explained(method: Any, data: WaterBirds, rows: Sequence[int], name: str, file: Path) -> dict[str, Any]:
    """Return the maps of these rows and the seconds that they took, going on with those that are kept in a file."""
    found: dict[str, Any] = {"rows": [], "maps": None, "seconds": 0.0}
    if file.is_file():
        found = torch.load(file, weights_only=True)
    both = min(len(rows), len(found["rows"]))
    if found["rows"][:both] != list(rows[:both]):
        sys.exit(f"{file} holds maps of other images; choose another OUT")
    explain = attribution_map(name)
    starts = range(len(found["rows"]), len(rows), AT_ONCE)
    for number, start in enumerate(starts, start=1):
        batch: Batch = data.fetch("test", list(rows[start : start + AT_ONCE]))
        with torch.no_grad():
            features = method(batch["image"]).features
        begin = time.process_time()
        maps = explain(method.network, batch["image"], batch["label"], features)
        found["seconds"] += time.process_time() - begin
        found["maps"] = maps if found["maps"] is None else torch.cat([found["maps"], maps])
        found["rows"] = [*found["rows"], *rows[start : start + AT_ONCE]]
        if number % KEPT_AFTER == 0 or number == len(starts):
            with atomic_write(file) as partial:
                torch.save(found, partial)
            sys.stderr.write(f"{name}: {len(found['rows'])} of {len(rows)} images\n")
    return found


def judged(
    method: Any, data: WaterBirds, rows: Sequence[int], found: dict[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return the columns of each map and of the controls, and how many images they are of."""
    maps = list(found)
    evaluations = [
        Localization(maps=maps),
        Fidelity(maps=maps, shares=(0.1, 0.2), paths=("pipeline",)),
        InsertionAndDeletion(maps=maps, steps=8, paths=("pipeline",)),
    ]
    for evaluation in evaluations:
        evaluation.prepare(method.spec, method.network)
    for start in range(0, len(rows), AT_ONCE):
        batch: Batch = data.fetch("test", list(rows[start : start + AT_ONCE]))
        with torch.no_grad():
            prediction = method(batch["image"])
        for name, kept in found.items():
            prediction.attributions[name] = kept["maps"][start : start + len(batch["label"])]
        for evaluation in evaluations:
            evaluation.update(method, batch, prediction)
    values = {str(key): float(value) for each in evaluations for key, value in each.compute().items()}
    for name, kept in found.items():
        values[f"images_a_second_{name}"] = len(kept["rows"]) / kept["seconds"]
    return {
        name: {"n": len(rows), "accuracy": values["fidelity/pipeline/00"]}
        | {column: values[f"{key}_{name}"] for column, key in COLUMNS.items() if f"{key}_{name}" in values}
        for name in (*maps, *CONTROLS)
    }


def write(record: dict[str, Any], out: Path) -> None:
    """Write what was found as JSON."""
    with atomic_write(out) as partial:
        Path(partial).write_text(json.dumps(record, indent=1))


def measure(method: Any, data: WaterBirds, counts: dict[str, int], out: Path, source: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of each map on the common images and on more, by ``<name> on <n>``; written as they come.

    Args:
        method: the classifier.
        data: its photographs.
        counts: on how many images each map is judged.
        out: file of what is found.
        source: what all of it depends on.
    """
    record: dict[str, Any] = {**source, "rows": {}}
    if out.is_file():
        record = json.loads(out.read_text())
        if any(record.get(key) != value for key, value in source.items()):
            sys.exit(f"{out} is of another checkpoint; choose another OUT")
    else:  # first of all, so that maps of another checkpoint are never taken for those of this one
        write(record, out)
    folder = out.with_suffix(".maps")
    folder.mkdir(parents=True, exist_ok=True)
    rows = chosen_rows(data, max(counts.values()))
    common = min(counts.values())
    for images in sorted(set(counts.values())):
        maps = [name for name, most in counts.items() if images in (common, most)]
        missing = [name for name in maps if f"{name} on {images}" not in record["rows"]]
        for first in range(0, len(missing), JUDGED_AT_ONCE):
            chosen = missing[first : first + JUDGED_AT_ONCE]
            found = {}
            for name in chosen:
                file = folder / f"{re.sub(r'[^a-z0-9_=]+', '-', name)}.pt"
                found[name] = explained(method, data, rows[:images], name, file)
            values = judged(method, data, rows[:images], found)
            record["rows"] |= {f"{name} on {images}": each for name, each in values.items()}
            write(record, out)
    names = [*counts, *CONTROLS]
    order = [f"{name} on {images}" for images in sorted(set(counts.values())) for name in names]
    return {key: record["rows"][key] for key in order if key in record["rows"]}


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
    parser.add_argument("root", type=Path, help="folder of the data")
    parser.add_argument("out", type=Path, help="OUT.json, or a picture with --gallery")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--images", type=int, default=32, help="that all maps are judged on (default: %(default)s)")
    parser.add_argument("--cheap-images", type=int, help="that maps that cost little are judged on too")
    parser.add_argument("--maps", nargs="+", default=[*CHEAP, *DEAR])
    parser.add_argument("--gallery", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    method = load_method(arguments.checkpoint)
    method.eval()
    size = method.spec.image_size[0]
    data = WaterBirds(str(arguments.root), image_size=size, num_workers=0)
    if arguments.gallery:
        draw(method, data, chosen_rows(data, arguments.images), arguments.maps, arguments.out)
        return
    more = max(arguments.cheap_images or 0, arguments.images)
    counts = {name: more if name in CHEAP else arguments.images for name in arguments.maps}
    digest = hashlib.sha256(arguments.checkpoint.read_bytes()).hexdigest()
    found = measure(method, data, counts, arguments.out, {"checkpoint": digest, "image_size": size})
    print("| map | n | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 2))
    for key, values in found.items():
        cells = [f"{values[column]:.3g}" if column in values else "" for column in COLUMNS]
        print(f"| {map_title(key.partition(' on ')[0])} | {values['n']} | " + " | ".join(cells) + " |")
    accuracies = {values["n"]: values["accuracy"] for values in found.values()}
    print("\naccuracy: " + ", ".join(f"{accuracy:.3f} on {n}" for n, accuracy in accuracies.items()))


if __name__ == "__main__":
    main()
