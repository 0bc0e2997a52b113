from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, TravelingBirds
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_cub_tree, write_travelingbirds


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    return write_cub_tree(tmp_path / "CUB_200_2011")


@pytest.fixture
def root(tmp_path: Path, cub: Path) -> Path:
    return write_travelingbirds(tmp_path / "travelingbirds", cub)


def open_birds(root: Path, **arguments: object) -> TravelingBirds:
    wishes = {"cub_root": str(root.parent / "CUB_200_2011"), "cache_dir": str(root.parent / "cache")} | arguments
    return TravelingBirds(str(root), image_size=24, num_workers=0, **wishes)


def test_nothing_leaks_although_each_folder_holds_all_images(root: Path, cub: Path) -> None:
    data = open_birds(root)
    ids = {split: set(data.dataset(split).ids) for split in ("train", "val", "test", "random", "black")}
    lines = (cub / "train_test_split.txt").read_text().splitlines()

    assert len(list((root / "CUB_fixed/train").glob("*/*"))) == len(list((root / "CUB_fixed/test").glob("*/*"))) == 21
    assert ids["train"] | ids["val"] == {line.split()[0] for line in lines if line.endswith(" 1")}
    assert not (ids["train"] | ids["val"]) & ids["test"]
    assert not ids["train"] & ids["val"]
    assert ids["test"] == ids["random"] == ids["black"]
    assert check_data("TravelingBirds", root=root, cub_root=cub, decode=True).ok


@pytest.mark.parametrize(
    ("split", "folder"),
    [
        ("train", "CUB_fixed/train"),
        ("val", "CUB_fixed/train"),
        ("test", "CUB_fixed/test"),
        ("random", "CUB_random"),
        ("black", "CUB_black"),
    ],
)
def test_splits_come_from_their_backgrounds(split: str, folder: str, root: Path) -> None:
    data = open_birds(root)
    rows = data.table.split(split)

    assert all(row.image.startswith(f"{folder}/") for row in rows)
    assert all(data.dataset(split)[i]["foreground"].any() for i in range(len(rows)))
    assert (data.dataset(split).group == -1).all()
    if split in ("random", "black"):
        assert {row.env for row in rows} == {""}
    else:
        shift = split == "test"
        assert [row.env for row in rows] == [f"place {40 + (row.label - shift) % 3}" for row in rows]


def test_another_split_takes_the_part_of_test(root: Path) -> None:
    data = open_birds(root, test_split="black")
    data.setup("test")

    assert data.dataset("test").split == "black"


def test_only_the_fixed_backgrounds(root: Path) -> None:
    shutil.rmtree(root / "CUB_random")
    shutil.rmtree(root / "CUB_black")
    (root / "CUB_fixed/train_places.json").unlink()

    assert open_birds(root).table.splits == ("test", "train", "val")


def test_notes_say_what_validation_does_not_see(root: Path) -> None:
    data = open_birds(root)

    assert data.spec.variant == "custom"
    assert data.notes[0].startswith(
        "variant custom: the counts (train 15) differ from every known release of Traveling"
    )
    assert "does not see the shift" in data.notes[1]
    assert "validation is the test split" in open_birds(root, val_fraction=0).notes[1]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"TravelingBirds not found(.|\n)*nowhere(.|\n)*CodaLab"):
        open_birds(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DataError, match=r"needs --data\.cub_root: CUB-200-2011 says which images are for testing"):
        open_birds(root, cub_root=None).prepare_data()
    with pytest.raises(DatasetNotFoundError, match="CUB-200-2011 not found"):
        open_birds(root, cub_root=str(tmp_path / "nowhere")).prepare_data()


def test_missing_image(root: Path) -> None:

    shutil.rmtree(root / "CUB_random/003.Tern")

    with pytest.raises(DataError, match=r"CUB_random/003\.Tern/\S+ is missing although CUB's images\.txt lists it"):
        open_birds(root).prepare_data()


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "does not say on which place each")])
def test_damaged_places(text: str, message: str, root: Path) -> None:
    (root / "CUB_fixed/test_places.json").write_text(text)

    with pytest.raises(DataError, match=rf"test_places\.json {message}"):
        open_birds(root).prepare_data()
