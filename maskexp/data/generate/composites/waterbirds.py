"""WaterBirds at any correlation (Sagawa et al., ICLR 2020; our own generator after group_DRO's recipe).

Unlike group_DRO's script every draw is seeded and every list sorted, the masks are saved, and the scenes of the three
splits are disjoint.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskexp.data.datasets.cub import Bird, CUBForeground, CUBLayout, read_birds
from maskexp.data.datasets.waterbirds import MISTAKEN, WaterBirdsLayout
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.generate.composites.composite import Composite
from maskexp.data.generate.composites.output import fingerprint, write_composites
from maskexp.data.generate.composites.scenes import Scene, deal
from maskexp.data.manifest.table import Card, ManifestTable, Row
from maskexp.files import atomic_write

__all__ = ["WaterBirdsRecipe", "find_masks", "is_water_bird", "make_waterbirds"]

VERSION: Final = 1
"""Counts up when the same recipe gives other images."""
WATER_WORDS = (
    *("albatross", "auklet", "cormorant", "frigatebird", "fulmar", "gull", "jaeger", "kittiwake", "pelican", "puffin"),
    *("tern", "gadwall", "grebe", "mallard", "merganser", "guillemot", "pacific_loon"),
)
"""group_DRO's words: a species whose name contains one of them is a water bird."""
HEADER = ("img_id", "img_filename", "y", "split", "place", "place_filename")
SPLITS = ("train", "val", "test")
KINDS = ("land", "water")
GREY = 150
"""Level behind the birds of ``test_fg`` (DFR's notebook)."""
DRAW_VAL, DRAW_PLACES, DRAW_SCENES = range(3)
"""Streams of random numbers, so that e.g. another correlation leaves the validation set as it is."""


@dataclass(frozen=True)
class WaterBirdsRecipe:
    """What decides which image shows what.

    Attributes:
        correlation: share of the training birds of each kind on their own kind of place, in [0.5, 1].
        seed: of all draws.
        label_rule: ``group_dro`` takes 46 of CUB's species for water birds, three of them because their names contain
            the word *tern* (Eas*tern* Towhee …); ``fixed`` leaves these out.
        val_fraction: share of CUB's training birds that validates (group_DRO: 0.2).
        test_fg: whether to add the split of test birds on grey.
        test_bg: whether to add the split of test scenes without birds.
    """

    correlation: float = 0.95
    seed: int = 0
    label_rule: Literal["group_dro", "fixed"] = "group_dro"
    val_fraction: float = 0.2
    test_fg: bool = False
    test_bg: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            DataError: if correlation or val_fraction are.
        """
        if not 0.5 <= self.correlation <= 1:
            raise DataError(f"correlation is {self.correlation}; it must be in [0.5, 1]")
        if self.seed < 0:
            raise DataError(f"seed is {self.seed}; it must be at least 0")
        if not 0 < self.val_fraction < 1:
            raise DataError(f"val_fraction is {self.val_fraction}; it must be in (0, 1)")


@dataclass(frozen=True, slots=True)
class Placed:
    """A bird, and where it is put: one line of ``metadata.csv``."""

    bird: Bird
    label: int
    split: int
    place: int
    scene: Scene

    def cells(self) -> tuple[str | int, ...]:
        """Return the values of :data:`HEADER`."""
        return self.bird.id, self.bird.image, self.label, self.split, self.place, self.scene.name


def make_waterbirds(
    folder: Path,
    cub_root: str | Path,
    scenes: Mapping[str, Sequence[Scene]],
    recipe: WaterBirdsRecipe,
    *,
    segmentations: str | Path | None = None,
    quality: int = 95,
    workers: int = 4,
) -> ManifestTable:
    """Write a WaterBirds in the official layout, with masks, and with a manifest of all its splits.

    The same recipe and sources give the same files, byte for byte, under one version of Pillow. A run that was
    interrupted goes on when it is called again. ``metadata.csv`` is written last: a folder that has it is complete.

    Args:
        folder: new, empty, or begun before with the same recipe.
        cub_root: CUB-200-2011, or birds in its layout, with segmentations in it or beside it.
        scenes: under ``land`` and ``water``.
        recipe: correlation, seed and the like.
        segmentations: folder of the masks, if elsewhere.
        quality: of the JPEGs; 75 is group_DRO's.
        workers: threads.

    Returns:
        The manifest that was written.

    Raises:
        DatasetNotFoundError: if birds or masks are missing.
        DataError: if they are damaged or too few, or ``folder`` holds something else.
    """
    cub = CUBLayout.locate(cub_root)
    masks = find_masks(cub, segmentations)
    placed = _place(read_birds(cub), scenes, recipe)
    lines = [line.cells() for line in placed]
    written = {"generator": "waterbirds", "version": VERSION, **asdict(recipe), "pictures_sha256": fingerprint(lines)}
    write_composites(folder, written, _composites(placed, cub, masks, recipe), quality, workers)
    with atomic_write(folder / "metadata.csv") as partial:
        partial.write_text(_csv(lines), encoding="utf-8")
    table = _manifest(folder, recipe, {kind: len(scenes[kind]) for kind in KINDS})
    table.write(folder)
    return table


def is_water_bird(species: str, rule: str) -> bool:
    """Return whether a species of CUB, e.g. ``142.Black_Tern``, counts as a water bird.

    Args:
        species: name of the class.
        rule: ``group_dro`` or ``fixed``, see :class:`WaterBirdsRecipe`.
    """
    name = species.lower()
    mistaken = rule == "fixed" and any(word in name for word in MISTAKEN)
    return not mistaken and any(word in name for word in WATER_WORDS)


def find_masks(cub_root: Path, segmentations: str | Path | None) -> Path:
    """Return the folder of CUB's segmentations, without which nothing can be cut out.

    Raises:
        DatasetNotFoundError: if there is none.
    """
    found = CUBForeground.find("CUB", cub_root, segmentations).segmentations
    if found is None:
        raise DatasetNotFoundError.explained(
            "CUB's segmentations",
            f"{cub_root / 'segmentations'} and {cub_root.parent / 'segmentations'}",
            "maskexp data prepare CUB ROOT",
            "--segmentations",
        )
    return found


def _place(birds: Sequence[Bird], scenes: Mapping[str, Sequence[Scene]], recipe: WaterBirdsRecipe) -> list[Placed]:
    """Choose split, place and scene of each bird, in the order of their numbers."""
    birds = sorted(birds, key=lambda bird: int(bird.id))
    labels = np.array([is_water_bird(bird.image.split("/")[0], recipe.label_rule) for bird in birds], np.int64)
    splits = _draw_splits(birds, recipe)
    places = np.zeros(len(birds), np.int64)
    for split in range(len(SPLITS)):
        correlation = recipe.correlation if split == 0 else 0.5
        for label, share in ((0, 1 - correlation), (1, correlation)):
            members = np.flatnonzero((splits == split) & (labels == label))
            order = np.random.default_rng([recipe.seed, DRAW_PLACES, split, label]).permutation(members)
            # A higher correlation moves birds one way only.
            places[order[: round(share * len(members))]] = 1
    chosen = _draw_scenes(splits, places, scenes, recipe.seed)
    return [Placed(bird, int(labels[i]), int(splits[i]), int(places[i]), chosen[i]) for i, bird in enumerate(birds)]


def _draw_splits(birds: Sequence[Bird], recipe: WaterBirdsRecipe) -> NDArray[np.int64]:
    """Return 0 train, 1 val, 2 test: CUB's test split stays, ``round(val_fraction * n)`` of the others validate."""
    splits = np.array([0 if bird.train else 2 for bird in birds], np.int64)
    trained = np.flatnonzero(splits == 0)
    drawn = np.random.default_rng([recipe.seed, DRAW_VAL]).permutation(trained)
    splits[drawn[: round(recipe.val_fraction * len(trained))]] = 1
    for split, name in enumerate(SPLITS):
        if not (splits == split).any():
            raise DataError(f"{len(birds)} birds leave the split {name} empty; give more, or another val_fraction")
    return splits


def _draw_scenes(
    splits: NDArray[np.int64], places: NDArray[np.int64], scenes: Mapping[str, Sequence[Scene]], seed: int
) -> dict[int, Scene]:
    """Return the scene of each bird."""
    chosen: dict[int, Scene] = {}
    for place, kind in enumerate(KINDS):
        members = {name: np.flatnonzero((splits == k) & (places == place)) for k, name in enumerate(SPLITS)}
        needs = {name: len(some) for name, some in members.items()}
        dealt = deal(scenes[kind], needs, np.random.default_rng([seed, DRAW_SCENES, place]))
        for name, some in members.items():
            chosen.update(zip(some.tolist(), dealt[name], strict=True))
    return chosen


def _composites(placed: Sequence[Placed], cub: Path, masks: Path, recipe: WaterBirdsRecipe) -> list[Composite]:
    """Return what has to be written."""
    composites = []
    for line in placed:
        name = line.bird.image
        mask = Path(name).with_suffix(".png")
        saved = f"segmentations/{mask.as_posix()}"
        whole = Composite(name, cub / "images" / name, masks / mask, line.scene.path, mask_target=saved)
        composites.append(whole)
        if recipe.test_fg and line.split == 2:
            composites.append(replace(whole, target=f"test_fg/{name}", scene=None, level=GREY, mask_target=""))
        if recipe.test_bg and line.split == 2:
            composites.append(replace(whole, target=f"test_bg/{name}", with_bird=False, mask_target=""))
    return composites


def _csv(lines: Sequence[Sequence[str | int]]) -> str:
    """Return ``metadata.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(lines)
    return text.getvalue()


def _manifest(folder: Path, recipe: WaterBirdsRecipe, found: Mapping[str, int]) -> ManifestTable:
    """Read the folder back as an official release; the builder is what made it."""
    table = WaterBirdsLayout.find(folder).build()
    rows = [replace(row, mask=row.mask and f"segmentations/{row.mask}") for row in table.rows]
    builder = {"name": "make waterbirds", "version": VERSION, **asdict(recipe)}
    return ManifestTable(replace(table.card, builder=builder, notes=_notes(table.card, rows, found)), rows)


def _notes(card: Card, rows: Sequence[Row], found: Mapping[str, int]) -> tuple[str, ...]:
    """Return the notes of the release, and how often scenes had to be used again."""
    notes = list(card.notes)
    for place, kind in enumerate(KINDS):
        needed = sum(row.attribute == place for row in rows if row.split in SPLITS)
        if needed > found[kind]:
            notes.append(
                f"{found[kind]} scenes of {kind} for {needed} images: scenes are used again, none of them in two splits"
            )
    return tuple(notes)
