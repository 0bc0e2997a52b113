"""The embedded default: drawn birds on land and water, with exact masks and any correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskexp.data.errors import DataError
from maskexp.data.generate.drawn.birds import draw_bird
from maskexp.data.generate.drawn.canvas import Canvas
from maskexp.data.generate.drawn.scenes import draw_scene
from maskexp.data.loading.datamodule import ImageDataModule
from maskexp.data.loading.pixels import MemoryPixels, Pixels
from maskexp.data.manifest.table import Card, ManifestTable, Row

__all__ = ["SyntheticBirds", "assign_places", "render"]

SPLITS = ("train", "val", "test")
VERSION = 1
"""Counts up when the same seed gives other pixels."""


class SyntheticBirds(ImageDataModule):
    """Drawn birds of two kinds on scenes of two kinds, in the groups of WaterBirds.

    Water birds have long necks and legs, land birds are stout; the colours of both come from one distribution. A
    share ``correlation`` of the training birds of each kind is shown on its own kind of scene, validation and test are
    balanced over the four groups. Each image is a pure function of (seed, split, i, size, kind of scene), the same on
    every machine; the bird and its position do not depend on the scene, so that two correlations show the same birds.
    Everything is rendered in memory when a split is first opened.

    Args:
        correlation: share of training birds on their own kind of scene, 0.5 (no shortcut) to 1.
        image_size: side of the images in pixels.
        train_size: number of training images.
        val_size: number of validation images.
        test_size: number of test images.
        seed: of images, order and augmentation.
        num_workers: processes that load; images lie in memory, so that more than 0 seldom helps.
        **kwargs: see :class:`ImageDataModule`.

    Raises:
        DataError: if an argument is out of range.
    """

    def __init__(
        self,
        *,
        correlation: float = 0.95,
        image_size: int = 64,
        train_size: int = 2000,
        val_size: int = 400,
        test_size: int = 800,
        seed: int = 0,
        num_workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, seed=seed, num_workers=num_workers, **kwargs)
        if not 0.5 <= correlation <= 1:
            raise DataError(f"correlation is {correlation}; it must be in [0.5, 1]")
        self.correlation = correlation
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self.sizes.items():
            if size < 4:
                raise DataError(f"{split}_size is {size}; four groups need at least 4 images")

    def build(self) -> ManifestTable:
        """Return labels and places of all images."""
        rows = []
        for split, size in self.sizes.items():
            correlation = self.correlation if split == "train" else 0.5
            places = assign_places(size, correlation, self.seed, SPLITS.index(split))
            rows += [
                Row(
                    id=f"{split}-{i:06d}",
                    split=split,
                    label=i % 2,
                    attribute=int(places[i]),
                    width=self.image_size,
                    height=self.image_size,
                )
                for i in range(size)
            ]
        card = Card(
            name="synthetic_birds",
            variant=f"correlation{self.correlation:g}",
            classes=("landbird", "waterbird"),
            attributes=("land", "water"),
            mask_kind="soft",
            mask_source="drawn",
            licence="Apache-2.0",
            builder={"name": "synthetic_birds", "version": VERSION, "seed": self.seed, "image_size": self.image_size},
        )
        return ManifestTable(card, rows)

    def pixels(self, split: str) -> Pixels:
        """Render a split."""
        rows = self.table.split(split)
        values = np.stack(
            [
                render(self.seed, SPLITS.index(split), i, row.label, row.attribute, self.image_size)
                for i, row in enumerate(rows)
            ]
        )
        return MemoryPixels(values, with_foreground=self.foreground == "segmentation")


def render(seed: int, split: int, index: int, kind: int, place: int, size: int) -> NDArray[np.uint8]:
    """Draw one image.

    Args:
        seed: of the data set.
        split: 0 train, 1 val, 2 test.
        index: of the image in its split.
        kind: 0 land bird, 1 water bird.
        place: 0 land, 1 water.
        size: side in pixels.

    Returns:
        uint8 ``(4, size, size)``: RGB, and the share of each pixel that the bird covers.
    """
    canvas = Canvas(size)
    draw_scene(canvas, place, np.random.default_rng((seed, split, index, 1)))
    draw_bird(canvas, kind, np.random.default_rng((seed, split, index, 0)))
    return canvas.to_bytes()


def assign_places(size: int, correlation: float, seed: int, split: int) -> NDArray[np.int64]:
    """Choose the place of each image; image ``i`` shows a bird of kind ``i % 2``.

    Of ``n`` birds of a kind, ``round((1 - correlation) * n)`` land birds and ``round(correlation * n)`` water birds
    are put on water (the rule of group_DRO's generator). A higher correlation moves birds one way only.

    Returns:
        ``(size,)`` int64, 0 land, 1 water.
    """
    draws = np.random.default_rng((seed, split)).random(size)
    places = np.zeros(size, np.int64)
    for kind, share in ((0, 1 - correlation), (1, correlation)):
        members = np.arange(kind, size, 2)
        order = members[np.argsort(draws[members], kind="stable")]
        places[order[: round(share * len(members))]] = 1
    return places
