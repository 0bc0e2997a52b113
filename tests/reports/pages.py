"""Pages for tests, with hostile names in every place that data, runs and studies can name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskexp.reports import Gallery, ImageSet, Judged, Model, Report, RunRecord, StudyTable, picture_of
from maskexp.reports.gallery import mask_of

HOSTILE = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "'; window.pwned = 1; //",
    "<!--<script>",
    "{{ 7 * 7 }}${window.pwned = 1}\u2028&amp;",
)
"""Names that inject something, if anything of them is read as markup or code."""


def pictured(count: int = 60, classes: tuple[str, ...] = ("land", "water"), prefix: str = "image-") -> Gallery:
    """A gallery of two models whose decisions are known: image i of class i % 2, the first model wrong on every 5th."""
    generator = np.random.default_rng(0)
    groups = tuple(f"{name}/{place}" for name in classes for place in ("here", "there"))
    pictures, first, second = [], [], []
    for i in range(count):
        label = i % len(classes)
        image = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        foreground = np.zeros((32, 32), bool)
        foreground[8:24, 8:24] = True
        identity = f"{prefix}{i:03d}"
        place = (i // 2) % 2
        pictures.append(picture_of(identity, label, 2 * label + place, image, foreground if i % 7 else None))
        cells = (generator.random((8, 8)) < 0.4).astype(np.float32)
        wrong = i % 5 == 0
        epg = None if i % 7 == 0 else i / count
        predicted = (label + 1) % len(classes) if wrong else label
        first.append(Judged(predicted, 0.5 + i / count / 2, 0.4, epg, float(cells.mean()), mask_of(cells, True)))
        smooth = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
        second.append(Judged(label, 0.9, 0.9, 0.5, float(smooth.mean()), mask_of(smooth, False)))
    images = ImageSet("drawn: 60 of 60 images of test", classes, groups, pictures)
    return Gallery([images], [Model("first", 0, "mask", first), Model("second", 0, "Grad-CAM", second)])


def record(name: str, **changes: object) -> RunRecord:
    """A run with groups, curves and an audit."""
    groups = {"land/here": (0.9, 40), "land/there": (0.7, 40), "water/here": (0.6, 40), "water/there": (1.0, 40)}
    metrics: dict[str, float | None] = {"test/acc": 0.8, "test/acc_worst_group": 0.6, "test/epg": 0.5}
    metrics |= {"test/epg_baseline": 0.25, "test/n_epg": 160, "test/mask_area": 0.3, "test/pxap": None}
    for group, (accuracy, count) in groups.items():
        metrics |= {f"test/acc_group/{group}": accuracy, f"test/n_group/{group}": count}
    number = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 50}
    finding = {"part": "hidden_influence", "question": "How many?", "number": number, "verdict": "open"}
    finding |= {"control": {"name": "shown", **number}, "sentence": "What the mask hides decides."}
    plain: dict[str, object] = {
        "folder": Path("runs") / name,
        "name": name,
        "config": {"model": {"class_path": "maskexp.methods.AIM", "init_args": {"backbone": "resnet50"}}},
        "config_text": "model: AIM\n",
        "environment": {"data": {"name": "birds", "variant": "v1", "digest": "0123abcd"}, "seed": 3, "device": "cpu"},
        "metrics": metrics,
        "curves": {"train/loss": ((0.0, 1.0), (2.0, 1.0)), "val/acc": ((0.0, 1.0), (0.5, 0.8))},
        "audit": {"images": 50, "of": 60, "split": "test", "mask": "its mask", "findings": [finding]},
        "done": True,
    }
    return RunRecord(**(plain | changes))  # type: ignore[arg-type]


def ordinary() -> Report:
    """Two runs, a study and a gallery."""
    table = StudyTable(
        *("Two rows", ("", "n", "acc", "verdict"), (("first", "3", "0.8", "agrees"),), ("mean",), {"done": 3}),
        pair_header=("", "against", "verdict"),
        pairs=(("first", "second", "differs"),),
    )
    runs = (record("first"), record("second"))
    return Report("A study", runs, table, pictured(), ("A note.",), "2026-01-01 12:00")


def hostile() -> Report:
    """The same with names that try to inject something."""
    bad = HOSTILE
    run = record(
        bad[2],
        config_text=f"model: {bad[1]}\n",
        environment={"data": {"name": bad[0], "notes": [bad[2]]}, "command": bad[1], "git": {"commit": bad[3]}},
        metrics={f"test/{bad[0]}": 0.5, f"test/acc_group/{bad[2]}": 0.5, "test/acc": 0.5},
        curves={"train/loss": ((0.0,), (1.0,))},
        audit={
            "images": 1,
            "of": 1,
            "split": bad[0],
            "mask": bad[2],
            "findings": [
                {
                    "part": bad[0],
                    "question": bad[2],
                    "number": {"value": None, "low": None, "high": None, "n": 0},
                    "control": {"name": bad[1], "value": None},
                    "verdict": bad[3],
                    "sentence": bad[5],
                }
            ],
        },
    )
    found = pictured(12, bad[:2], prefix=bad[1])
    models = [Model(bad[number], 0, bad[2], each.judged) for number, each in enumerate(found.models)]
    gallery = Gallery(found.sets, models, (bad[2],))
    table = StudyTable(
        *(bad[0], ("", bad[1]), ((bad[2], bad[3]),), (bad[4],), {bad[0]: 1}),
        pair_header=("", bad[0]),
        pairs=((bad[2], bad[3]),),
    )
    return Report(bad[1], (run,), table, gallery, (bad[4], bad[5]), bad[0])
