"""Scenes to put birds on: Places365 in its own layouts, or any folders; and how they are dealt out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.text_files import text_of
from maskexp.files import expanded

__all__ = ["LAND_AND_WATER", "Scene", "deal", "find_places", "land_and_water", "named_scenes"]

LAND_AND_WATER = {"land": ("/b/bamboo_forest", "/f/forest/broadleaf"), "water": ("/o/ocean", "/l/lake/natural")}
"""Categories of Places365 that group_DRO puts birds on (forest2water2)."""
VAL_LIST, CATEGORIES, VAL_FOLDER = "places365_val.txt", "categories_places365.txt", "val_large"
GET_PLACES = (
    "http://data.csail.mit.edu/places/places365/train_large_places365standard.tar (give the tar itself), or "
    "maskexp data prepare Places365Val ROOT, or any folders with --land and --water"
)


@dataclass(frozen=True, order=True, slots=True)
class Scene:
    """A photograph of a place.

    Attributes:
        name: what is recorded of it, e.g. ``/o/ocean/00000097.jpg``: the same wherever the files lie.
        path: the file.
    """

    name: str
    path: Path


def named_scenes(folders: Mapping[str, Sequence[Path]]) -> dict[str, list[Scene]]:
    """Find all images in and below the folders of each kind of place, sorted.

    The names are relative to the innermost folder that holds all of them.

    Raises:
        DatasetNotFoundError: if a folder is missing.
        DataError: if a kind has no images, or two kinds share some.
    """
    given = {kind: [expanded(folder) for folder in some] for kind, some in folders.items()}
    for kind, some in given.items():
        for folder in some:
            if not folder.is_dir():
                raise DatasetNotFoundError.explained(f"A folder of {kind} scenes", str(folder), GET_PLACES, f"--{kind}")
    common = Path(os.path.commonpath([folder.resolve() for some in given.values() for folder in some]))
    found: dict[str, list[Scene]] = {}
    seen: dict[str, str] = {}
    for kind, some in given.items():
        paths = {path.resolve() for folder in some for path in _below(folder)}
        found[kind] = sorted(Scene(f"/{path.relative_to(common).as_posix()}", path) for path in paths)
        if not found[kind]:
            raise DataError(f"{', '.join(map(str, some))} holds no images of {kind}")
        for scene in found[kind]:
            if seen.setdefault(scene.name, kind) != kind:
                raise DataError(f"{scene.path} is given both as {seen[scene.name]} and as {kind}")
    return found


def find_places(root: str | Path) -> dict[str, list[Scene]]:
    """Find the scenes of each kind of place, sorted.

    Either ``root`` holds ``places365_val.txt`` and ``val_large/`` (and ``categories_places365.txt`` for the names), or
    every folder below it that holds images is a kind of place.

    Raises:
        DatasetNotFoundError: if ``root`` is missing or holds no images.
        DataError: if the list of the validation images is damaged.
    """
    above = expanded(root)
    if (above / VAL_LIST).is_file():
        return _val_places(above)
    found: dict[str, list[Scene]] = {}
    for folder, folders, _ in os.walk(above):
        folders.sort()
        name = f"/{Path(folder).relative_to(above).as_posix()}"
        if scenes := [Scene(f"{name}/{path.name}", path) for path in image_files(Path(folder))]:
            found[name] = scenes
    if not found:
        raise DatasetNotFoundError.explained("Scenes", str(above), GET_PLACES, "--places")
    return found


def land_and_water(root: str | Path) -> dict[str, list[Scene]]:
    """Return the scenes of group_DRO's four categories of Places365.

    Raises:
        DatasetNotFoundError: if ``root`` is missing.
        DataError: if a category is missing.
    """
    places = find_places(root)
    found: dict[str, list[Scene]] = {}
    for kind, categories in LAND_AND_WATER.items():
        found[kind] = []
        for category in categories:
            names = [name for name in places if name == category or name.endswith(category)]
            if not names:
                raise DataError(
                    f"{root} has no images of {category[1:]} as Places365 lays them out (…{category}/*.jpg); say "
                    "which folders are which with --land and --water"
                )
            found[kind] += [Scene(f"{category}/{scene.path.name}", scene.path) for scene in places[names[0]]]
        found[kind].sort()
    return found


def deal(scenes: Sequence[Scene], needs: Mapping[str, int], generator: np.random.Generator) -> dict[str, list[Scene]]:
    """Deal shuffled scenes out to splits, none to two of them.

    Each scene is used once as long as there are enough. Else each split has a share of them in proportion to its need,
    which it uses over and over, all equally often up to one.

    Args:
        scenes: in a fixed order.
        needs: number of scenes for each split.
        generator: shuffles.

    Raises:
        DataError: if there are fewer scenes than splits that need some.
    """
    wanted = {split: need for split, need in needs.items() if need}
    total, splits = sum(wanted.values()), len(wanted)
    if len(scenes) < splits:
        raise DataError(f"{len(scenes)} scenes cannot be shared by {splits} splits; give more images")
    shuffled = [scenes[i] for i in generator.permutation(len(scenes))]
    spare = min(len(scenes), total) - splits
    shares = {
        split: 1 + (spare * (need - 1) // (total - splits) if total > splits else 0) for split, need in wanted.items()
    }
    left = min(len(scenes), total) - sum(shares.values())  # what rounding down left over
    dealt: dict[str, list[Scene]] = {split: [] for split in needs}
    start = 0
    for split, need in wanted.items():
        extra = min(left, need - shares[split])
        left -= extra
        share = shares[split] + extra
        part = shuffled[start : start + share]
        start += share
        dealt[split] = [part[i % share] for i in range(need)]
    return dealt


def _below(folder: Path) -> list[Path]:
    """Return all images in a folder and its sub-folders."""
    return [path for inside, _, _ in os.walk(folder) for path in image_files(Path(inside))]


def _val_places(root: Path) -> dict[str, list[Scene]]:
    """Return the validation images of Places365 by category, in the order of their list."""
    names: dict[str, str] = {}
    if (root / CATEGORIES).is_file():
        names = {number: name for name, number in _pairs(root / CATEGORIES)}
    found: dict[str, list[Scene]] = defaultdict(list)
    for file, number in _pairs(root / VAL_LIST):
        place = names.get(number, number)
        found[place].append(Scene(f"/{VAL_FOLDER}/{file}", root / VAL_FOLDER / file))
    if not (root / VAL_FOLDER).is_dir():
        raise DatasetNotFoundError.explained("Places365's val_large", str(root / VAL_FOLDER), GET_PLACES, "--places")
    return dict(found)


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Read lines of two words."""
    pairs = []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        words = line.split()
        if words and len(words) != 2:
            raise DataError(f"{path}, line {number}: {line!r} is not 'name number'")
        if words:
            pairs.append((words[0], words[1]))
    return pairs
