"""TravelingBirds at any correlation (Koh et al., Concept Bottleneck Models, ICML 2020; our own generator).

The released archive holds *all* images of CUB in each of its folders, so that an image folder made of
``CUB_fixed/train`` trains on the test birds. Here each folder holds only the birds of its own split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from maskexp.data.datasets.cub import Bird, CUBLayout, read_birds
from maskexp.data.datasets.travelingbirds import FOLDERS, TravelingBirdsLayout
from maskexp.data.errors import DataError
from maskexp.data.generate.composites.composite import Composite
from maskexp.data.generate.composites.output import fingerprint, write_composites
from maskexp.data.generate.composites.scenes import Scene, deal
from maskexp.data.generate.composites.waterbirds import find_masks
from maskexp.data.manifest.table import ManifestTable
from maskexp.files import write_json

__all__ = ["TravelingBirdsRecipe", "make_travelingbirds"]

VERSION: Final = 1
"""Counts up when the same recipe gives other images."""
CBM_SEED = 42
"""Default of the released script."""
DRAW_PLACES, DRAW_OTHERS, DRAW_SCENES, DRAW_RANDOM = range(4)
"""Streams of random numbers."""
Chosen = dict[tuple[str, str], Scene]
"""The scene of each (folder's split, bird's id)."""
Places = Mapping[str, Sequence[Scene]]


@dataclass(frozen=True)
class TravelingBirdsRecipe:
    """What decides which image shows what.

    Attributes:
        correlation: share of the training birds of each species on the species' own place, in [0, 1]; the others lie on
            other places. 1 is the released data set.
        seed: of all draws; None stands for 0, and for 42 with ``compat="cbm"``.
        compat: ``cbm`` draws places and scenes in the order of the released script, with NumPy's legacy generator
            (whether the release was made with the default seed is not known). None deals the scenes so that training
            and test share none.
    """

    correlation: float = 1.0
    seed: int | None = None
    compat: Literal["cbm"] | None = None

    def __post_init__(self) -> None:
        """Fill the seed in, and refuse what is out of range.

        Raises:
            DataError: if the correlation is, or cannot be had in the order of the released script.
        """
        if not 0 <= self.correlation <= 1:
            raise DataError(f"correlation is {self.correlation}; it must be in [0, 1]")
        if self.seed is not None and self.seed < 0:
            raise DataError(f"seed is {self.seed}; it must be at least 0")
        if self.compat and self.correlation != 1:
            raise DataError(f"correlation is {self.correlation}; the released script knows only 1")
        if self.seed is None:
            object.__setattr__(self, "seed", CBM_SEED if self.compat else 0)


def make_travelingbirds(
    folder: Path,
    cub_root: str | Path,
    places: Places,
    recipe: TravelingBirdsRecipe,
    *,
    segmentations: str | Path | None = None,
    quality: int = 95,
    workers: int = 4,
) -> ManifestTable:
    """Write a TravelingBirds in the official layout, with masks, and with a manifest of all its splits.

    Each species has a place; in the test split it lies on the place of the species before it. With fewer places than
    species, several species share one. The same recipe and sources give the same files; a run that was interrupted goes
    on when it is called again. ``dataset.json`` is written last: a folder that has it is complete.

    Args:
        folder: new, empty, or begun before with the same recipe.
        cub_root: CUB-200-2011, or birds in its layout, with segmentations in it or beside it.
        places: scenes of each kind of place, at least two kinds.
        recipe: correlation, seed and the like.
        segmentations: folder of the masks, if elsewhere.
        quality: of the JPEGs; 75 is the release's.
        workers: threads.

    Returns:
        The manifest that was written.

    Raises:
        DatasetNotFoundError: if birds or masks are missing.
        DataError: if they are damaged or too few, or ``folder`` holds something else.
    """
    if len(places) < 2:
        raise DataError(f"birds cannot travel between {len(places)} kinds of place; give the scenes of two or more")
    cub = CUBLayout.locate(cub_root)
    masks = find_masks(cub, segmentations)
    birds = sorted(read_birds(cub), key=lambda bird: bird.image)
    species = _by_species(birds)
    own, chosen = (_draw_cbm if recipe.compat else _draw)(species, places, recipe)
    lines = [(split, identity, scene.name) for (split, identity), scene in sorted(chosen.items())]
    written = {
        "generator": "travelingbirds",
        "version": VERSION,
        **asdict(recipe),
        "pictures_sha256": fingerprint([*lines, *((bird.id, bird.image, bird.train) for bird in birds)]),
    }
    write_composites(folder, written, _composites(birds, chosen, cub, masks), quality, workers)
    for split, mapping in own.items():
        write_json(folder / f"{FOLDERS[split]}_places.json", mapping)
    table = _manifest(folder, cub, places, chosen, recipe)
    table.write(folder)
    return table


def _by_species(birds: Sequence[Bird]) -> dict[str, list[Bird]]:
    """Return the birds of each species, species and birds sorted."""
    species: dict[str, list[Bird]] = defaultdict(list)
    for bird in birds:
        species[bird.image.split("/")[0]].append(bird)
    return dict(sorted(species.items()))


def _draw(
    species: Mapping[str, Sequence[Bird]], places: Places, recipe: TravelingBirdsRecipe
) -> tuple[dict[str, dict[str, str]], Chosen]:
    """Choose places and scenes; no scene is in two of training, test and (where enough are left) random."""
    seed = recipe.seed or 0
    names = list(places)
    drawn = [names[i] for i in np.random.default_rng([seed, DRAW_PLACES]).permutation(len(names))][: len(species)]
    own = {
        split: {name: drawn[(k - shift) % len(drawn)] for k, name in enumerate(species)}
        for split, shift in (("train", 0), ("test", 1))
    }
    where: dict[str, dict[str, list[str]]] = {place: {"train": [], "test": []} for place in names}
    for k, (name, birds) in enumerate(species.items()):
        generator = np.random.default_rng([seed, DRAW_OTHERS, k])
        trained = [bird.id for bird in birds if bird.train]
        order = [trained[i] for i in generator.permutation(len(trained))]
        stay = round(recipe.correlation * len(order))
        where[own["train"][name]]["train"] += order[:stay]
        others = [place for place in names if place != own["train"][name]]
        for identity in order[stay:]:
            where[others[generator.integers(len(others))]]["train"].append(identity)
        where[own["test"][name]]["test"] += [bird.id for bird in birds if not bird.train]
    chosen: Chosen = {}
    for number, place in enumerate(names):
        needs = {split: len(identities) for split, identities in where[place].items()}
        dealt = deal(places[place], needs, np.random.default_rng([seed, DRAW_SCENES, number]))
        for split, identities in where[place].items():
            chosen.update(zip(((split, identity) for identity in identities), dealt[split], strict=True))
    return own, chosen | _draw_random(species, places, set(chosen.values()), seed)


def _draw_random(species: Mapping[str, Sequence[Bird]], places: Places, used: set[Scene], seed: int) -> Chosen:
    """Choose a scene of any place for each test bird, unused ones as long as there are some at all."""
    everything = [scene for scenes in places.values() for scene in scenes]
    candidates = [scene for scene in everything if scene not in used] or everything
    tested = [bird.id for birds in species.values() for bird in birds if not bird.train]
    order = np.random.default_rng([seed, DRAW_RANDOM]).permutation(len(candidates))
    return {("random", identity): candidates[order[i % len(order)]] for i, identity in enumerate(tested)}


def _draw_cbm(
    species: Mapping[str, Sequence[Bird]], places: Places, recipe: TravelingBirdsRecipe
) -> tuple[dict[str, dict[str, str]], Chosen]:
    """Choose in the order of the released script: shuffle all scenes, draw the places, then scenes by species."""
    most = max(map(len, species.values()))
    fewest = min(map(len, places.values()))
    if len(places) < len(species) or fewest < most:
        raise DataError(
            f"compat cbm needs a place for each of {len(species)} species and {most} scenes of each; there are "
            f"{len(places)} places, the smallest of {fewest} scenes"
        )
    legacy = np.random.RandomState(recipe.seed)
    everything = [scene for scenes in places.values() for scene in scenes]
    legacy.shuffle(everything)  # type: ignore[arg-type]
    names = list(places)
    trained = [names[i] for i in legacy.choice(len(names), len(species), replace=False)]
    tested = [trained[k - 1] for k in range(len(trained))]
    chosen: Chosen = {}
    count = 0
    for name, train_place, test_place in zip(species, trained, tested, strict=True):
        birds = species[name]
        for split, place in (("train", train_place), ("test", test_place)):
            indices = legacy.choice(len(places[place]), len(birds), replace=False)
            for bird, index in zip(birds, indices, strict=True):
                if bird.train == (split == "train"):
                    chosen[split, bird.id] = places[place][index]
        for bird in birds:
            if not bird.train:
                chosen["random", bird.id] = everything[count % len(everything)]
            count += 1
    own = {"train": dict(zip(species, trained, strict=True)), "test": dict(zip(species, tested, strict=True))}
    return own, chosen


def _composites(birds: Sequence[Bird], chosen: Chosen, cub: Path, masks: Path) -> list[Composite]:
    """Return what has to be written."""
    composites = []
    for bird in birds:
        mask = Path(bird.image).with_suffix(".png")
        saved = f"segmentations/{mask.as_posix()}"
        for number, split in enumerate(("train",) if bird.train else ("test", "random", "black")):
            scene = chosen[split, bird.id].path if split != "black" else None
            target = f"{FOLDERS[split]}/{bird.image}"
            whole = Composite(target, cub / "images" / bird.image, masks / mask, scene)
            composites.append(whole if number else replace(whole, mask_target=saved))
    return composites


def _manifest(folder: Path, cub: Path, places: Places, chosen: Chosen, recipe: TravelingBirdsRecipe) -> ManifestTable:
    """Read the folder back as the official release, and add which scene each image shows."""
    table = TravelingBirdsLayout.find(folder, cub, folder / "segmentations").build()
    place_of = {scene: place for place, scenes in places.items() for scene in scenes}
    rows = []
    for row in table.rows:
        scene = chosen.get(("train" if row.split == "val" else row.split, row.id))
        source, env = (scene.name, f"place {place_of[scene]}") if scene else ("", "")
        rows.append(replace(row, mask=f"segmentations/{row.mask}", source=source, env=env))
    builder = {"name": "make travelingbirds", "version": VERSION, **asdict(recipe)}
    return ManifestTable(replace(table.card, builder=builder), rows)
