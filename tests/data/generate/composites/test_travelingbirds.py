from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.data import DataError, TravelingBirds
from maskexp.data.generate.composites.scenes import Scene, find_places
from maskexp.data.generate.composites.travelingbirds import TravelingBirdsRecipe, make_travelingbirds
from maskexp.data.manifest.check import check_data
from maskexp.data.manifest.table import ManifestTable
from tests.data.generate.composites.test_waterbirds import digest
from tests.fixtures import write_cub_tree
from tests.fixtures.cub import SPECIES
from tests.fixtures.images import save, speckle


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    write_cub_tree(root / "CUB_200_2011", train=10, test=4)
    for number, place in enumerate(("beach", "city/street", "desert", "field")):
        for k in range(30):
            save(speckle(100 * number + k, (16, 14)), root / f"places/{place}/{k:02d}.jpg")
    return root


def places(root: Path) -> dict[str, list[Scene]]:
    return find_places(root / "places")


def make(sources: Path, folder: Path, recipe: TravelingBirdsRecipe | None = None, **arguments: object) -> ManifestTable:
    recipe = recipe or TravelingBirdsRecipe()
    return make_travelingbirds(folder, sources, places(sources), recipe, **arguments)


def test_the_official_layout_without_its_leak(sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out")
    data = TravelingBirds(
        str(tmp_path / "out"), cub_root=str(sources), cache_dir=str(tmp_path / "cache"), image_size=16, num_workers=0
    )

    assert data.spec.foreground == "segmentation"
    assert {split: len(data.dataset(split)) for split in data.table.splits} == {
        "train": 24,
        "val": 6,
        "test": 12,
        "random": 12,
        "black": 12,
    }
    assert check_data("TravelingBirds", root=tmp_path / "out", cub_root=sources, decode=True).ok
    assert check_data("Manifest", root=tmp_path / "out").ok
    folders = {
        folder: len(list((tmp_path / "out" / folder).glob("*/*.jpg")))
        for folder in ("CUB_fixed/train", "CUB_fixed/test")
    }
    assert folders == {"CUB_fixed/train": 30, "CUB_fixed/test": 12}, "no test bird lies in the training folder"
    assert all(row.source for row in table.rows if row.split != "black")


def test_each_species_travels_to_the_place_of_the_one_before(sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out")
    train, test = (
        json.loads((tmp_path / f"out/CUB_fixed/{split}_places.json").read_text()) for split in ("train", "test")
    )

    assert len(set(train.values())) == len(SPECIES)
    assert [test[name] for name in SPECIES] == [train[SPECIES[k - 1]] for k in range(len(SPECIES))]
    for row in table.rows:
        mapping = {"train": train, "val": train, "test": test}.get(row.split)
        if mapping:
            place = mapping[SPECIES[row.label]]
            assert row.source.startswith(f"{place}/")
            assert row.env == f"place {place}"
    used = {
        split: {row.source for row in table.rows if row.split == split} for split in ("train", "val", "test", "random")
    }
    assert not (used["train"] | used["val"]) & (used["test"] | used["random"]), "no scene is seen in training and test"


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_correlation_moves_a_share_of_each_species(correlation: float, sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out", TravelingBirdsRecipe(correlation))
    own = json.loads((tmp_path / "out/CUB_fixed/train_places.json").read_text())

    for label, name in enumerate(SPECIES):
        trained = [row for row in table.rows if row.split in ("train", "val") and row.label == label]
        assert sum(row.source.startswith(f"{own[name]}/") for row in trained) == round(correlation * len(trained))


def test_the_same_seed_gives_identical_files(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path / "a", workers=1)
    make(sources, tmp_path / "b", workers=3)
    make(sources, tmp_path / "c", TravelingBirdsRecipe(seed=1))

    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a")["manifest.csv"] != digest(tmp_path / "c")["manifest.csv"]
    (tmp_path / "b/CUB_random").rename(tmp_path / "moved")
    make(sources, tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b"), "what is missing is made again"


def test_compat_draws_in_the_order_of_the_released_script(sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out", TravelingBirdsRecipe(compat="cbm"), quality=75)
    legacy = np.random.RandomState(42)
    found = places(sources)
    flat = [scene.name for scenes in found.values() for scene in scenes]
    legacy.shuffle(flat)
    train = legacy.choice(list(found), 3, replace=False).tolist()
    first = legacy.choice([scene.name for scene in found[train[0]]], 14, replace=False).tolist()

    assert json.loads((tmp_path / "out/CUB_fixed/train_places.json").read_text()) == dict(
        zip(SPECIES, train, strict=True)
    )
    stems = sorted(path.stem for path in (sources / f"CUB_200_2011/images/{SPECIES[0]}").glob("*_[0-9]*.jpg"))
    source = {
        Path(row.image).stem: row.source for row in table.rows if row.split in ("train", "val") and row.label == 0
    }
    assert source == {stem: first[k] for k, stem in enumerate(stems) if stem in source}
    random = {Path(row.image).stem: row.source for row in table.rows if row.split == "random" and row.label == 0}
    assert random == {stem: flat[k] for k, stem in enumerate(stems) if stem in random}


def test_black_is_the_bird_times_its_mask(sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out", quality=100)
    row = table.split("black")[0]
    black = np.asarray(Image.open(tmp_path / "out" / row.image), np.int64)
    mask = np.asarray(Image.open(tmp_path / "out" / row.mask), np.int64)

    assert row.source == ""
    assert black[mask == 0].mean() < 8  # JPEG of noise rings
    assert black[mask > 0].mean() > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"correlation": -0.1}, r"correlation is -0\.1; it must be in \[0, 1\]"),
        ({"correlation": 0.5, "compat": "cbm"}, r"correlation is 0\.5; the released script knows only 1"),
    ],
)
def test_recipes_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TravelingBirdsRecipe(**arguments)


def test_too_few_places(sources: Path, tmp_path: Path) -> None:
    found = places(sources)
    two = dict(list(found.items())[:2])
    table = make_travelingbirds(tmp_path / "two", sources, two, TravelingBirdsRecipe())
    assert {row.env for row in table.rows if row.split == "test"} == {f"place {place}" for place in two}

    with pytest.raises(DataError, match="birds cannot travel between 1 kinds of place"):
        make_travelingbirds(tmp_path / "one", sources, dict(list(found.items())[:1]), TravelingBirdsRecipe())
    with pytest.raises(
        DataError, match="compat cbm needs a place for each of 3 species and 14 scenes of each; there are 2"
    ):
        make_travelingbirds(tmp_path / "cbm", sources, two, TravelingBirdsRecipe(compat="cbm"))
