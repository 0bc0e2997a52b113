from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from maskexp.data import DataError, DatasetNotFoundError
from maskexp.data.generate.composites.places_tar import keep_scenes
from maskexp.data.generate.composites.scenes import (
    LAND_AND_WATER,
    Scene,
    deal,
    find_places,
    land_and_water,
    named_scenes,
)
from tests.fixtures.images import save, speckle
from tests.fixtures.scenes import write_places_tar, write_scenes

WANTED = sum(LAND_AND_WATER.values(), ())


def scenes(number: int) -> list[Scene]:
    return [Scene(f"/{k}", Path(f"/{k}")) for k in range(number)]


@pytest.mark.parametrize(("number", "needs"), [(20, (9, 3, 8)), (20, (9, 0, 2)), (7, (9, 3, 8)), (3, (50, 1, 1))])
def test_no_scene_is_dealt_to_two_splits(number: int, needs: tuple[int, ...]) -> None:
    wanted = dict(zip(("train", "val", "test"), needs, strict=True))
    dealt = deal(scenes(number), wanted, np.random.default_rng(0))

    assert {split: len(some) for split, some in dealt.items()} == wanted
    sets = [set(some) for some in dealt.values()]
    assert sum(map(len, sets)) == len(set().union(*sets))
    if sum(needs) <= number:
        assert sum(map(len, sets)) == sum(needs), "each is used once while there are enough"
    for some in dealt.values():
        uses = [some.count(scene) for scene in set(some)]
        assert max(uses, default=0) - min(uses, default=0) <= 1


def test_too_few_scenes() -> None:
    with pytest.raises(DataError, match="2 scenes cannot be shared by 3 splits"):
        deal(scenes(2), {"train": 5, "val": 1, "test": 1}, np.random.default_rng(0))


def test_folders_are_searched_and_named_alike_wherever_they_lie(tmp_path: Path) -> None:
    names = []
    for place in ("here", "there/further"):
        found = named_scenes(write_scenes(tmp_path / place, 4))
        names.append({kind: [scene.name for scene in some] for kind, some in found.items()})

    assert names[0] == names[1]
    assert names[0]["land"] == ["/land/001.jpg", "/land/002.jpg", "/land/more/000.jpg", "/land/more/003.jpg"]


def test_wrong_folders(tmp_path: Path) -> None:
    folders = write_scenes(tmp_path / "scenes", 2)
    (tmp_path / "empty").mkdir()

    with pytest.raises(DatasetNotFoundError, match=r"folder of water scenes not found(.|\n)*nowhere(.|\n)*--water"):
        named_scenes({**folders, "water": [tmp_path / "nowhere"]})
    with pytest.raises(DataError, match="empty holds no images of water"):
        named_scenes({**folders, "water": [tmp_path / "empty"]})
    with pytest.raises(DataError, match=r"\.jpg is given both as land and as water"):
        named_scenes({**folders, "water": [tmp_path / "scenes/land/more"]})


def test_the_archive_is_streamed_and_only_four_categories_are_kept(tmp_path: Path) -> None:
    archive = write_places_tar(tmp_path / "places.tar")
    kept = keep_scenes(archive, tmp_path / "kept", WANTED)

    assert not (kept / "a").exists()
    assert len(list(kept.rglob("*.jpg"))) == 24
    found = land_and_water(kept)
    assert {kind: len(some) for kind, some in found.items()} == {"land": 12, "water": 12}
    assert found["water"][0].name == "/l/lake/natural/00000000.jpg"
    archive.unlink()
    assert keep_scenes(archive, kept, WANTED) == kept, "a complete folder does not need the archive again"


@pytest.mark.parametrize("cut", [0, 512, 700])
def test_an_archive_that_ends_early_is_read_again(cut: int, tmp_path: Path) -> None:
    archive = write_places_tar(tmp_path / "places.tar")
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        archive.write_bytes(whole[: tar.getmembers()[20].offset + cut])  # before, behind and within a header
    with pytest.raises(DataError, match=r"places\.tar cannot be read as a tar to its end"):
        keep_scenes(archive, tmp_path / "kept", WANTED)
    some = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.jpg")}
    assert 0 < len(some) < 24

    archive.write_bytes(whole)
    keep_scenes(archive, tmp_path / "kept", WANTED)

    assert len(list((tmp_path / "kept").rglob("*.jpg"))) == 24
    assert all(path.stat().st_mtime_ns == time for path, time in some.items())


def test_wrong_archives(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar at all" * 100)

    with pytest.raises(DatasetNotFoundError, match=r"archive of Places365 not found(.|\n)*nowhere\.tar"):
        keep_scenes(tmp_path / "nowhere.tar", tmp_path / "kept", WANTED)
    with pytest.raises(DataError, match=r"text\.tar cannot be read as a tar"):
        keep_scenes(tmp_path / "text.tar", tmp_path / "kept", WANTED)
    with pytest.raises(DataError, match=r"places\.tar has no images of /d/desert"):
        keep_scenes(write_places_tar(tmp_path / "places.tar", 1), tmp_path / "kept2", ["/d/desert"])
    write_scenes(tmp_path / "scenes", 1)
    with pytest.raises(DataError, match=r"no images of b/bamboo_forest as Places365 lays them out"):
        land_and_water(tmp_path / "scenes")


def test_validation_images_by_their_list(tmp_path: Path) -> None:
    places = ("/b/bamboo_forest", "/f/forest/broadleaf", "/l/lake/natural", "/o/ocean")
    lines = [f"Places365_val_{k:08d}.jpg {k % 4}" for k in range(8)]
    (tmp_path / "places365_val.txt").write_text("\n".join(lines))
    with pytest.raises(DatasetNotFoundError, match="val_large not found"):
        find_places(tmp_path)
    for line in lines:
        save(speckle(0), tmp_path / "val_large" / line.split()[0])

    assert list(find_places(tmp_path)) == ["0", "1", "2", "3"]
    categories = "".join(f"{name} {k}\n" for k, name in enumerate(places))
    (tmp_path / "categories_places365.txt").write_text(categories)
    assert [scene.path.name for scene in find_places(tmp_path)["/o/ocean"]] == [
        "Places365_val_00000003.jpg",
        "Places365_val_00000007.jpg",
    ]
    assert len(land_and_water(tmp_path)["land"]) == 4
    (tmp_path / "places365_val.txt").write_text("one two three")
    with pytest.raises(DataError, match=r"places365_val\.txt, line 1: 'one two three' is not 'name number'"):
        find_places(tmp_path)
