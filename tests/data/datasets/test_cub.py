from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskexp.data import CUB, DataError, DatasetNotFoundError
from maskexp.data.datasets import cub as builder
from maskexp.data.loading.file_datamodule import FileDataModule
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_cub_tree
from tests.fixtures.cub import SPECIES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cub_tree(tmp_path / "CUB_200_2011")


def open_cub(root: Path, **arguments: object) -> CUB:
    return CUB(str(root), cache_dir=str(root.parent / "cache"), image_size=24, num_workers=0, **arguments)


def test_splits_labels_and_masks(root: Path) -> None:
    data = open_cub(root)

    assert data.spec.class_names == SPECIES
    assert data.spec.group_names == ()
    assert data.spec.foreground == "segmentation"
    assert {split: data.table.counts(split) for split in ("train", "val", "test")} == {
        "train": (4, 4, 4),  # round(0.2 * 5) of each class are held out
        "val": (1, 1, 1),
        "test": (2, 2, 2),
    }
    for split in ("train", "val", "test"):
        dataset = data.dataset(split)
        assert [SPECIES.index(row.image.split("/")[1]) for row in data.table.split(split)] == dataset.label.tolist()
        assert all(dataset[i]["foreground"].any() for i in range(len(dataset)))


def test_official_test_split_is_kept(root: Path) -> None:
    lines = (root / "train_test_split.txt").read_text().splitlines()
    official = {line.split()[0] for line in lines if line.endswith(" 0")}

    for arguments in ({}, {"val_seed": 7}, {"val_fraction": 0.5}, {"val_fraction": 0}):
        assert set(open_cub(root, **arguments).dataset("test").ids) == official


def test_held_out_images_depend_on_their_own_seed(root: Path) -> None:
    held = {seed: open_cub(root, val_seed=seed).dataset("val").ids.tolist() for seed in range(4)}

    assert open_cub(root, seed=9).dataset("val").ids.tolist() == held[0]
    assert len({tuple(ids) for ids in held.values()}) > 1


def test_without_validation_set(root: Path) -> None:
    data = open_cub(root, val_fraction=0)

    assert data.table.counts("train") == (5, 5, 5)
    assert data.dataset("val").ids.tolist() == data.dataset("test").ids.tolist()
    assert any(note.startswith("val_fraction 0: validation is the test split") for note in data.notes)


def test_grey_images_and_stray_files(root: Path) -> None:
    data = open_cub(root)
    grey = {row.image: (row.split, row.id) for row in data.table.rows if row.flags == "grayscale"}

    assert list(grey) == ["images/002.Brewer_Blackbird/Brewer_Blackbird_0028_2682.jpg"]
    split, identity = grey.popitem()[1]
    image = data.dataset(split)[data.dataset(split).ids.tolist().index(identity)]["image"]
    assert torch.equal(image[0], image[2])
    assert not any("_rgb" in row.image for row in data.table.rows)


@pytest.mark.parametrize("above", [False, True])
def test_segmentations_beside_the_folder(above: bool, tmp_path: Path) -> None:
    root = write_cub_tree(tmp_path / "CUB_200_2011", beside=True)

    assert open_cub(tmp_path if above else root).spec.foreground == "segmentation"


def test_boxes_where_there_are_no_segmentations(tmp_path: Path) -> None:
    data = open_cub(write_cub_tree(tmp_path / "CUB_200_2011", masks=False))

    assert data.spec.foreground == "box"
    assert {row.box for row in data.table.rows} == {(2.0, 3.0, 12.0, 15.0)}
    with pytest.raises(DataError, match="foreground is 'segmentation', but cub here offers box, none"):
        _ = open_cub(tmp_path / "CUB_200_2011", foreground="segmentation").spec


def attribute_labels(data: FileDataModule, split: str) -> NDArray[np.bool_]:
    return builder.read_attribute_labels(data.prepared.root, data.dataset(split).ids.tolist())


def test_attributes_and_parts(root: Path) -> None:
    data = open_cub(root)
    ids = data.dataset("test").ids.astype(int)

    assert (attribute_labels(data, "test") == (ids[:, None] + np.arange(1, 5)) % 2).all()
    assert attribute_labels(data, "test").dtype == bool
    parts = builder.read_part_locations(data.prepared.root, data.dataset("test").ids.tolist())
    assert parts.shape == (len(ids), 3, 3)
    assert (parts[:, :, 0] == ids[:, None]).all()
    assert parts[0, :, 1:].tolist() == [[1.5, 1], [2.5, 0], [3.5, 1]]


@pytest.mark.parametrize(("train", "variant"), [(15, "official"), (14, "custom")])
def test_official_counts_are_recognised(train: int, variant: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "KNOWN_COUNTS", {"official": {"train": (train,), "test": (6,)}})

    data = open_cub(root)

    assert data.spec.variant == variant
    assert any("differ from every known release of CUB-200-2011" in note for note in data.notes) == (train == 14)
    assert any("shares images with ImageNet" in note for note in data.notes)


def test_check(root: Path) -> None:
    report = check_data("CUB", root=root, decode=True, custom=True)

    assert report.ok
    assert {finding.kind: len(finding.items) for finding in report.findings if finding.items} == {
        "image_mode": 1,
        "mask_mode": 1,
    }
    assert report.counts["val"] == (1, 1, 1)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"CUB-200-2011 not found(.|\n)*nowhere\n(.|\n)*data prepare CUB"):
        open_cub(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"CUB-200-2011's segmentations not found(.|\n)*--data\.segm"):
        open_cub(root, segmentations=str(tmp_path / "nowhere")).prepare_data()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("images.txt", "\n2 ", "\nzwei ", r"images\.txt, line 2: 'zwei .*' is not 'number value'"),
        ("images.txt", "Tern_0006_21", "Tern_9999", r"Tern_9999\.jpg is missing although images\.txt lists it"),
        ("image_class_labels.txt", "2 1\n", "", r"image_class_labels\.txt lacks image 2, which images\.txt lists"),
        ("image_class_labels.txt", "\n2 1", "\n2 4", "image 2 has '4', out of range; it must be 1 to 3"),
        ("train_test_split.txt", "\n2 0", "\n2 2", "image 2 has '2', out of range; it must be 0 to 1"),
        ("classes.txt", "2 002", "4 002", r"classes\.txt does not number its classes 1 to 3"),
        ("bounding_boxes.txt", "2 2.0 3.0", "2 2.0", r"boxes\.txt, line 2: '2 2\.0 10\.0 12\.0' is not 'id x y"),
    ],
)
def test_damaged_tables(name: str, old: str, new: str, message: str, root: Path) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))

    with pytest.raises(DataError, match=message):
        open_cub(root).prepare_data()


def test_missing_table(root: Path) -> None:
    (root / "train_test_split.txt").unlink()

    with pytest.raises(DataError, match=r"train_test_split\.txt is missing although images\.txt is there"):
        open_cub(root).prepare_data()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n2 1 1", "\n2 1 ?", r"line 5: '2 1 \? 3.*' is damaged"),
        ("\n9 1 0", "\n999 1 0", "lack number 1 of image 9"),
    ],
)
def test_damaged_attributes(old: str, new: str, message: str, root: Path) -> None:
    path = root / "attributes/image_attribute_labels.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))

    data = open_cub(root)
    split = next(row.split for row in data.table.rows if row.id == "9")
    with pytest.raises(DataError, match=message):
        attribute_labels(data, split)


def test_no_attributes(root: Path) -> None:
    (root / "attributes/image_attribute_labels.txt").unlink()

    with pytest.raises(DatasetNotFoundError, match=r"CUB's attributes/image_attribute_labels\.txt not found"):
        attribute_labels(open_cub(root), "test")


def test_real_photographs(shared: Path, tmp_path: Path) -> None:
    data = CUB(str(shared / "data/birds"), cache_dir=str(tmp_path), image_size=32, num_workers=0)

    assert len(data.spec.class_names) == 200
    assert data.spec.foreground == "segmentation"
    assert 0.05 < data.fetch("val", range(0, 40, 4))["foreground"].float().mean() < 0.6
