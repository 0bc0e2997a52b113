"""The test variants of ImageNet-9, which show the same foregrounds on other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from maskexp.data.datasets.imagenet9 import COMET_CLASSES, ImageNet9Layout
from maskexp.data.loading.batches import BatchReader
from maskexp.data.loading.dataset import ManifestDataset
from maskexp.data.loading.pixels import FilePixels
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.types import Batch, DataSpec, ForegroundKind

__all__ = ["ImageNet9Variants"]


class ImageNet9Variants:
    """Images of several variants, as evaluation sees them, by their row.

    Args:
        root: folder ``bg_challenge``, or the folder in which it lies.
        spec: of the data that are tested.
        question: name of the evaluation, for messages.
        variants: names, e.g. ``mixed_same``.

    Raises:
        ValueError: if the data are not ImageNet-9.
        DatasetNotFoundError: if ``root`` is missing.
        DataError: if a variant is missing.
    """

    def __init__(self, root: str, spec: DataSpec, question: str, variants: Sequence[str]) -> None:
        if spec.name != ImageNet9Layout.name:
            raise ValueError(f"{question} needs the variants of ImageNet-9, but the data are {spec.name}; leave it out")
        self.question = question
        order: Any = "comet" if spec.class_names == COMET_CLASSES else "official"
        self.prepared = ImageNet9Layout.find(root, label_order=order).prepare()
        self.size = spec.image_size[0]
        self.readers = {variant: self._reader(variant) for variant in variants}

    def fetch(self, variant: str, rows: Tensor) -> Batch:
        """Return the images of these rows of a variant on their device, image float in [0, 1].

        Raises:
            ValueError: if the variant has fewer rows.
        """
        reader, wanted = self.readers[variant], rows.tolist()
        if wanted and max(wanted) >= len(reader):
            raise ValueError(
                f"{self.question} takes row {max(wanted)} of {variant}, which has {len(reader)}; test on a variant of "
                "ImageNet-9 with as many images, e.g. --data.test_split original"
            )
        stored: Any = reader.__getitems__(wanted)
        batch = {name: values.to(rows.device) for name, values in stored.items()}
        return cast(Batch, batch | {"image": batch["image"].float() / 255})

    def same_foreground(self, variant: str, rows: Tensor, elsewhere: str) -> Tensor:
        """Return the rows of a variant ``elsewhere`` that show the same foregrounds as these rows of ``variant``.

        Raises:
            ValueError: if a foreground is not there.
        """
        found = {row.pair_id: i for i, row in enumerate(self.prepared.table.split(elsewhere))}
        wanted = [self.prepared.table.split(variant)[row].pair_id for row in rows.tolist()]
        if missing := [name for name in wanted if name not in found]:
            raise ValueError(f"{elsewhere} has no image of the foreground {missing[0]} of {variant}; extract it again")
        return torch.tensor([found[name] for name in wanted], dtype=torch.int64, device=rows.device)

    def _reader(self, variant: str) -> BatchReader:
        rows = self.prepared.table.split(variant)
        kind: ForegroundKind = "none" if self.prepared.mask_root is None else "segmentation"
        pixels = FilePixels(rows, kind, self.prepared.image_root(variant), self.prepared.mask_root)
        return BatchReader(ManifestDataset(self.prepared.table, variant, pixels, Pipeline(self.size)))
