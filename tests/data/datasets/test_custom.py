"""People's own folders, and what beside them must not be left out without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from maskexp.data import DataError, DatasetNotFoundError, Manifest
from maskexp.data.datasets.custom import CustomData
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_csv, write_image_folder


def own(path: Path, **arguments: object) -> Manifest:
    return Manifest(csv=str(path), image_size=24, num_workers=0, **arguments)


def read(path: Path, **arguments: object) -> CustomData:
    return CustomData.find(csv=str(path), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("masks", [False, True])
def test_image_folder(masks: bool, tmp_path: Path) -> None:
    data = Manifest(str(write_image_folder(tmp_path / "birds", masks=masks)), image_size=24, num_workers=0)

    assert data.spec.class_names == ("heron", "wren")
    assert data.spec.name == "birds"
    assert data.spec.foreground == ("segmentation" if masks else "none")
    assert [data.table.counts(split) for split in ("train", "val", "test")] == [(2, 2)] * 3
    assert bool(data.fetch("val", [0, 3])["foreground"].any()) == masks
    assert data.dataset("train").ids.tolist() == ["heron/0.png", "heron/1.png", "wren/0.png", "wren/1.png"]


def test_masks_elsewhere(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "birds", masks=True)
    (root / "masks").rename(tmp_path / "drawn")

    assert Manifest(str(root), masks=str(tmp_path / "drawn")).spec.foreground == "segmentation"
    with pytest.raises(DatasetNotFoundError, match=r"nowhere(.|\n)*--data\.masks"):
        Manifest(str(root), masks=str(tmp_path / "nowhere")).prepare_data()


def test_folder_without_splits(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"looked for  \S+/train/<class>/ and \S+/manifest\.csv"):
        Manifest(str(tmp_path / "nowhere")).prepare_data()


def test_class_that_training_lacks(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "birds")
    (root / "test/wren").rename(root / "test/owl")

    with pytest.raises(DataError, match=r"class 'owl' occurs in .* but not in its training split"):
        Manifest(str(root)).prepare_data()


def test_prepared_manifest_and_own_manifest_csv(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    expected = own(path)
    digest = expected.digest
    path.rename(tmp_path / "manifest.csv")

    assert Manifest(str(tmp_path)).spec.train_group_counts == (1, 1, 1, 1)
    expected.table.write(tmp_path)
    prepared = Manifest(str(tmp_path), image_size=24)
    assert prepared.digest == digest
    assert torch.equal(prepared.fetch("test", [1])["foreground"], expected.fetch("test", [1])["foreground"])


def test_masks_beside_a_csv_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masks is the folder of the masks of an image folder; a CSV names each mask"):
        read(write_csv(tmp_path), masks=str(tmp_path))


@pytest.mark.parametrize(
    "wish", [{"classes": ["a", "b"]}, {"attributes": ["x", "y"]}, {"columns": {"label": "species"}}]
)
def test_names_beside_an_image_folder_are_refused(tmp_path: Path, wish: dict[str, object]) -> None:
    root = write_image_folder(tmp_path)
    with pytest.raises(DataError, match=f"{next(iter(wish))} cannot be given here: .* is an image folder"):
        CustomData.find(root=str(root), **wish)  # type: ignore[arg-type]


def test_a_folder_of_masks_that_belongs_to_no_image_is_refused(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "data")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"no file in \S+masks belongs to an image; the mask of \S+ would be"):
        CustomData.find(root=str(root), masks=str(tmp_path / "masks"))


def test_hidden_files_and_folders_are_no_classes_and_no_images(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    before = CustomData.find(root=str(root)).prepare().table
    (root / "train" / ".ipynb_checkpoints").mkdir()
    folder = next(path for path in sorted((root / "train").iterdir()) if not path.name.startswith("."))
    (folder / f"._{next(folder.iterdir()).name}").write_bytes(b"\0\5\x16\7")

    after = CustomData.find(root=str(root)).prepare().table

    assert after.rows == before.rows
    assert any("1 files that are no images by their names were left out" in note for note in after.card.notes)


@pytest.mark.parametrize("suffix", [".jfif", ".ppm", ".avif", ".JPG"])
def test_every_format_that_is_read_is_listed(tmp_path: Path, suffix: str) -> None:
    root = write_image_folder(tmp_path)
    count = len(CustomData.find(root=str(root)).prepare().table.rows)
    folder = min((root / "train").iterdir())
    (folder / f"new{suffix}").write_bytes(min(folder.iterdir()).read_bytes())
    assert len(CustomData.find(root=str(root)).prepare().table.rows) == count + 1


def test_what_lies_deeper_or_is_no_image_is_counted(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    folder = min((root / "train").iterdir())
    (folder / "more").mkdir()
    (folder / "readme.txt").touch()
    (root / "holiday").mkdir()
    notes = "\n".join(CustomData.find(root=str(root)).prepare().table.card.notes)
    assert "1 sub-folders of classes were left out" in notes
    assert "1 files that are no images by their names were left out" in notes
    assert "1 folders are no train, val or test and were left out: holiday" in notes


def test_an_empty_folder_is_no_class(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 6)).save(tmp_path / "own" / split / name / f"{split}.png")
    (tmp_path / "own/train/empty").mkdir()
    (tmp_path / "own/val/up").symlink_to("..")
    report = check_data("Manifest", root=str(tmp_path / "own"))
    assert report.group_names == ("a", "b")
    (note,) = [one.message for one in report.findings if one.kind == "about"]
    assert note == "2 folders of classes hold no images and were left out: train/empty, val/up"


def test_a_folder_called_masks_is_meant_as_one(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "data")
    (root / "masks").mkdir()
    (root / "masks" / "0_mask.png").touch()
    with pytest.raises(DataError, match=r"no file in \S+masks belongs to an image"):
        CustomData.find(root=str(root))


def test_masks_that_belong_to_no_image_are_counted(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "data", masks=True)
    (root / "masks" / "train" / "stray.npy").touch()
    notes = CustomData.find(root=str(root)).prepare().table.card.notes
    assert "1 files in masks belong to no image: train/stray.npy" in notes
