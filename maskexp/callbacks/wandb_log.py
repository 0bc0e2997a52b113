"""What a run tells wandb beyond curves: configuration, versions, galleries, a table of test images, final numbers.

All functions take the runs of :func:`wandb_runs`: none where no ``WandbLogger`` is set, and on all ranks but the first.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from maskexp.callbacks.figure import GalleryRow

__all__ = [
    "log_configuration",
    "log_gallery",
    "log_selected",
    "log_test_images",
    "mark_preempting",
    "sync_command",
    "typed_keys",
    "wandb_runs",
]

TABLE = ("image", "mask", "group", "label", "prediction", "probability", "correct", "epg")


def wandb_runs(loggers: Iterable[Any]) -> list[Any]:
    """Return the wandb runs behind a trainer's loggers that have begun, on the first rank."""
    first = getattr(rank_zero_only, "rank", 0) == 0
    begun = (logger for logger in loggers if isinstance(logger, WandbLogger) and logger._experiment is not None)
    return [logger.experiment for logger in begun if first]


def typed_keys(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration by the keys that a user types, each a column that wandb can filter and sort by.

    Example:
        >>> typed_keys({"model": {"class_path": "maskexp.methods.AIM", "init_args": {"tau": 0.25}}, "verbose": True})
        {'model': 'AIM', 'model.tau': 0.25, 'verbose': True}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name == "class_path" and prefix:
            found[prefix[:-1]] = str(value).rpartition(".")[2]
        elif isinstance(value, Mapping) and value:
            found |= typed_keys(value, prefix if name == "init_args" else f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def log_configuration(runs: Sequence[Any], config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Write the whole configuration, and ``env.…`` with versions, commit, data digest and global batch size."""
    for run in runs:
        flat = typed_keys(config) | {f"env.{key}": value for key, value in typed_keys(environment).items()}
        run.config.update(flat, allow_val_change=True)


def log_gallery(runs: Sequence[Any], split: str, rows: Sequence[GalleryRow], step: int) -> None:
    """Write the images of a gallery with masks and foreground as overlays that can be switched on and off."""
    for run in runs:
        run.log({f"gallery/{split}": [_image(row) for row in rows], "trainer/global_step": step})


def log_test_images(runs: Sequence[Any], rows: Sequence[GalleryRow], epg: Sequence[float], step: int) -> None:
    """Write one table of test images: image, mask, prediction and each image's EPG, None without foreground."""
    for run in runs:
        import wandb

        table = wandb.Table(columns=list(TABLE))
        for row, energy in zip(rows, epg, strict=True):
            mask = None if row.attribution is None else wandb.Image(_pixels(row.attribution))
            correct = row.predicted == row.label
            value = None if row.foreground is None or not np.isfinite(energy) else float(energy)
            described = (row.group, row.label, row.predicted, row.probability, correct, value)
            table.add_data(_image(row), mask, *described)
        run.log({"test_images": table, "trainer/global_step": step})


def log_selected(runs: Sequence[Any], metrics: Mapping[str, Any], checkpoint: Mapping[str, Any], batch: Any) -> None:
    """Write the numbers of the selected checkpoint into the summary, over the last values of the curves.

    Args:
        runs: of wandb.
        metrics: ``val/…`` and ``test/…`` of the checkpoint.
        checkpoint: facts about it.
        batch: samples of a step of the training, on all processes together.
    """
    for run in runs:
        selected = {f"selected/{key}": checkpoint.get(key) for key in ("epoch", "rule", "score", "path")}
        run.summary.update({**metrics, **selected, "global_batch_size": batch})


def mark_preempting(runs: Sequence[Any]) -> None:
    """Tell wandb that the run leaves to be started again, so that a sweep hands it out once more."""
    for run in runs:
        run.mark_preempting()


def sync_command(runs: Sequence[Any]) -> str | None:
    """Return the command that uploads what was written offline, all starts of a run in order; None if nothing was."""
    folders: list[str] = []
    for run in runs:
        if run.settings._offline:
            folder = Path(run.dir).parent
            folders += [os.path.relpath(path) for path in sorted(folder.parent.glob(f"offline-run-*-{run.id}"))]
    return None if not folders else f"wandb sync {' '.join(map(shlex.quote, folders))}"


def _image(row: GalleryRow) -> Any:
    """Return an image with the masks over it and what was predicted below it."""
    import wandb

    shown = {0: "hidden", 1: "visible"}
    overlays = {
        f"mask {stage}": {"mask_data": _resized(mask, row.image.shape), "class_labels": shown}
        for stage, mask in enumerate(row.masks, start=1)
    }
    if row.attribution is not None:
        name = "merged mask" if row.masks else "attribution"
        overlays[name] = {"mask_data": _resized(row.attribution, row.image.shape), "class_labels": shown}
    if row.foreground is not None:
        labels = {0: "background", 1: row.label}
        overlays["foreground"] = {"mask_data": row.foreground.astype(np.uint8), "class_labels": labels}
    verdict = "right" if row.predicted == row.label else f"wrong, is {row.label}"
    caption = f"{row.group or row.label}: {row.predicted} {row.probability:.0%}, {verdict}"
    return wandb.Image(_pixels(row.image), masks=overlays, caption=caption)


def _pixels(values: Any) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))


def _resized(mask: Any, size: tuple[int, ...]) -> Any:
    """Return where a mask is at least one half, on the image's grid, as 0 and 1."""
    binary = Image.fromarray((np.asarray(mask) >= 0.5).astype(np.uint8))
    return np.asarray(binary.resize((size[1], size[0]), Image.Resampling.NEAREST))
