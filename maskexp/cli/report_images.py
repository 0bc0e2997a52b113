"""The images of a report, predicted anew by the selected checkpoint of each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from maskexp.cli.data_of_checkpoint import data_of_checkpoint, device_called
from maskexp.cli.errors import CommandError
from maskexp.cli.terminal import note, silence
from maskexp.data import ImageDataModule
from maskexp.data.errors import DataError
from maskexp.evaluation.audit import chosen_rows
from maskexp.methods import Method, load_method
from maskexp.methods.checkpoint import CheckpointError, check_classes
from maskexp.metrics.functional import energy_pointing_game
from maskexp.reports import Gallery, ImageSet, Judged, Model, Picture, RunRecord, picture_of
from maskexp.reports.gallery import mask_of
from maskexp.types import Batch, Prediction

__all__ = ["gallery_of"]

BATCH = 64
SPLIT = "test"


def gallery_of(runs: Sequence[RunRecord], images: int, seed: int, flags: Sequence[str], device: str | None) -> Gallery:
    """Return images of the test split, and what each run's selected checkpoint says of them.

    Runs on the same data share their images. A run whose checkpoint or data are not there is left out, with a note.

    Args:
        runs: that the report shows.
        images: of all sets together, at most.
        seed: of the choice of images.
        flags: about the data, as in ``test``.
        device: on which the models run; the first GPU or else the CPU if None.
    """
    silence()
    place = device_called(device)
    notes: list[str] = []
    sets: dict[tuple[str, ...], list[tuple[RunRecord, Path, ImageDataModule]]] = {}
    for run in runs:
        try:
            if run.checkpoint is None:
                raise CommandError(f"{run.folder} has no checkpoints/best.ckpt")
            data = data_of_checkpoint(run.checkpoint, flags)
            key = (data.digest, str(data.image_size), str(data.pipeline.evaluation_key))
            data.dataset(SPLIT)
        except (CommandError, DataError, OSError) as error:
            notes.append(_left_out(run, error))
            continue
        sets.setdefault(key, []).append((run, run.checkpoint, data))
    image_sets: list[ImageSet] = []
    models: list[Model] = []
    for members in sets.values():
        data = members[0][2]
        rows = chosen_rows(range(len(data.dataset(SPLIT))), max(images // len(sets), 1), seed)
        judged_here = []
        for run, checkpoint, _ in members:
            try:
                method = load_method(checkpoint)
                if method.spec is not None:
                    check_classes(method.spec, data.spec)
                method.check_data(data.spec)
            except (CheckpointError, ValueError, OSError) as error:
                notes.append(_left_out(run, error))
                continue
            judged_here.append(Model(run.name, len(image_sets), _shows(method), _judged(method, data, rows, place)))
        if judged_here:
            image_sets.append(_image_set(data, rows))
            models += judged_here
    return Gallery(image_sets, models, tuple(notes))


def _left_out(run: RunRecord, error: Exception) -> str:
    sentence = f"{run.name} is not in the gallery: {error}"
    note(sentence)
    return sentence


def _shows(method: Method) -> str:
    return "mask" if method.network.masked_stages else "Grad-CAM"


def _image_set(data: ImageDataModule, rows: Sequence[int]) -> ImageSet:
    ids = data.dataset(SPLIT).ids
    pictures: list[Picture] = []
    for batch in _batches(data, rows):
        pixels = (batch["image"] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for i, row in enumerate(batch["index"].tolist()):
            foreground = batch["foreground"][i, 0].numpy() if bool(batch["has_foreground"][i]) else None
            pictures.append(
                picture_of(
                    *(_readable(str(ids[row])), int(batch["label"][i]), int(batch["group"][i]), pixels[i], foreground)
                )
            )
    spec = data.spec
    title = f"{spec.name} {spec.variant}: {len(rows)} of {len(ids)} images of {SPLIT}"
    return ImageSet(title, spec.class_names, spec.group_names, pictures)


def _judged(method: Method, data: ImageDataModule, rows: Sequence[int], device: torch.device) -> list[Judged]:
    method = method.to(device).eval()
    judged: list[Judged] = []
    for batch in _batches(data, rows):
        moved: dict[str, Tensor] = {name: value.to(device) for name, value in batch.items()}
        with torch.no_grad():
            prediction: Prediction = method.explain_batch(cast(Batch, moved))
        judged += _of_batch(prediction, batch)
    return judged


def _of_batch(prediction: Prediction, batch: Batch) -> list[Judged]:
    probability = prediction.logits.float().softmax(dim=1).cpu()
    best, predicted = probability.max(dim=1)
    of_label = probability.gather(1, batch["label"][:, None])[:, 0]
    size = (batch["image"].shape[-2], batch["image"].shape[-1])
    pixels, own = prediction.attribution_at(size), prediction.attribution
    count = len(batch["label"])
    epg, area, masks = [math.nan] * count, [math.nan] * count, [""] * count
    if pixels is not None and own is not None:
        pixels = pixels.cpu()
        area = pixels.flatten(1).mean(dim=1).tolist()
        epg = energy_pointing_game(pixels, batch["foreground"], reduction="none").tolist()
        known = batch["has_foreground"] & batch["foreground"].flatten(1).any(dim=1)
        epg = [value if there else math.nan for value, there in zip(epg, known.tolist(), strict=True)]
        cells = prediction.interpolation == "nearest"
        masks = [mask_of(values, cells) for values in np.asarray(own[:, 0].float().cpu())]
    return [
        Judged(int(predicted[i]), float(best[i]), float(of_label[i]), _known(epg[i]), _known(area[i]), masks[i])
        for i in range(count)
    ]


def _batches(data: ImageDataModule, rows: Sequence[int]) -> Any:
    for first in range(0, len(rows), BATCH):
        yield data.fetch(SPLIT, rows[first : first + BATCH])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _readable(text: str) -> str:
    """Return an id as text that any file can hold; it may come from a file name that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
