from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from maskexp.data import DataError, DatasetNotFoundError, Manifest
from tests.fixtures import resize_image, write_csv, write_image_folder


def rewrite(path: Path, line: int, **cells: str) -> Path:
    """Change cells of one line of a CSV (2 is the first below the header)."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    lines[line - 2] |= cells
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def own(path: Path, **arguments: object) -> Manifest:
    return Manifest(csv=str(path), image_size=24, num_workers=0, **arguments)


def test_csv(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path))

    spec = data.spec
    assert (spec.name, spec.variant, spec.foreground) == ("data", "own", "segmentation")
    assert spec.class_names == ("heron", "wren")  # in alphabetical order
    assert spec.attribute_names == ("land", "water")
    assert spec.train_group_counts == (1, 1, 1, 1)
    assert data.notes == []
    assert data.dataset("train").label.tolist() == [1, 0, 1, 0]
    assert data.fetch("test", [0, 1])["foreground"].any()


def test_order_of_classes_and_attributes_can_be_given(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path), classes=["wren", "heron", "owl"], attributes=["water", "land"])

    assert data.spec.class_names == ("wren", "heron", "owl")
    assert data.dataset("train").label.tolist() == [0, 1, 0, 1]
    assert data.dataset("train").attribute.tolist() == [1, 1, 0, 0]


def test_labels_may_be_indices(tmp_path: Path) -> None:
    data = own(rewrite(write_csv(tmp_path, label=0), 3, label="2"))

    assert data.spec.class_names == ("class 0", "class 1", "class 2")
    assert own(tmp_path / "data.csv", classes=["a", "b", "c"]).spec.class_names == ("a", "b", "c")


def test_only_image_and_label_are_required(tmp_path: Path) -> None:
    empty = dict.fromkeys(("attribute", "mask", "x0", "y0", "x1", "y1"))
    data = own(write_csv(tmp_path, **empty))

    assert data.spec.foreground == "none"
    assert data.spec.group_names == ()
    assert data.spec.train_group_counts == ()
    assert data.fetch("train", [0])["group"].tolist() == [-1]


def test_box_instead_of_mask(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path, mask=None))

    assert data.spec.foreground == "box"
    assert data.fetch("train", [0, 1])["has_foreground"].all()


def test_without_split_a_hash_decides(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path, per_split=30, split=None))

    sizes = {split: len(data.table.split(split)) for split in data.table.splits}
    assert sum(sizes.values()) == 90
    assert sizes["train"] > 50
    assert min(sizes.values()) > 4
    assert data.notes == ["the CSV has no split: 70/15/15 % by a hash of the image's path"]


def test_other_names_of_splits_and_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    path.write_text(path.read_text().replace("label", "species", 1).replace(",val,", ",Validation,"))

    data = own(path, columns={"label": "species"})

    assert data.table.splits == ("test", "train", "val")


def test_paths_are_relative_to_root_if_given(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data")
    moved = path.rename(tmp_path / "list.csv")

    assert own(moved, root=str(tmp_path / "data")).fetch("test", [0])["foreground"].any()
    with pytest.raises(DataError, match=r"the image \S+/images/image 10\.png, listed in .* does not exist; paths are"):
        own(moved).prepare_data()


def test_missing_csv(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"looked for  \S+nothing\.csv(.|\n)*--data\.csv"):
        own(tmp_path / "nothing.csv").prepare_data()
    with pytest.raises(DataError, match=r"Manifest needs --data\.root \(a folder\) or --data\.csv \(a file\)"):
        Manifest().prepare_data()


def test_wrong_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path)

    with pytest.raises(DataError, match=r"no column 'specie'; it has image, .*--data\.columns\.label"):
        own(path, columns={"label": "specie"}).prepare_data()
    with pytest.raises(DataError, match=r"the role 'lable', which does not exist \(did you mean 'label'\?\)"):
        own(path, columns={"lable": "label"}).prepare_data()
    path.write_text(path.read_text().replace("label", "labels", 1))
    with pytest.raises(DataError, match=r"no column 'label' \(did you mean 'labels'\?\); it has image, labels"):
        own(path).prepare_data()
    with pytest.raises(DataError, match="only some of the columns x0, y0, x1, y1"):
        own(write_csv(tmp_path / "other", x1=None)).prepare_data()


@pytest.mark.parametrize(
    ("cells", "classes", "message"),
    [
        (
            {"label": "owl"},
            ["wren", "heron"],
            r"line 4: label 'owl' is unknown; there are 2, numbered from 0: wren, heron",
        ),
        ({"label": "2"}, ["wren", "heron"], "line 4: label '2' is out of range"),
        ({"label": "-1"}, ["wren", "heron"], "line 4: label '-1' is out of range"),
        ({"label": "-1"}, None, "line 4: label '-1' is out of range; there are 2, numbered from 0: heron, wren"),
        ({"attribute": "-1"}, None, "line 4: attribute '-1' is out of range; .* leave the cell empty where there is"),
        ({"label": ""}, None, "line 4: label is empty"),
        ({"image": ""}, None, "line 4: image is empty"),
        ({"split": ""}, None, "line 4: split is empty"),
        ({"x0": "left"}, None, "line 4: the box left, 3, 20, 25 is not made of four numbers"),
        ({"x0": "30"}, None, "line 4: the box 30, 3, 20, 25 is empty"),
        ({"mask": "masks/none.png"}, None, r"the mask \S+/masks/none\.png, listed in \S+data\.csv, does not exist"),
    ],
)
def test_bad_cells(cells: dict[str, str], classes: list[str] | None, message: str, tmp_path: Path) -> None:
    path = rewrite(write_csv(tmp_path), 4, **cells)

    with pytest.raises(DataError, match=message):
        own(path, classes=classes).prepare_data()


def test_negative_among_indices(tmp_path: Path) -> None:
    path = rewrite(write_csv(tmp_path, label=1), 3, label="-1")

    with pytest.raises(DataError, match="line 3: label '-1' is out of range; there are 2, numbered from 0: class 0"):
        own(path).prepare_data()


def test_place_of_the_cache(tmp_path: Path) -> None:
    own(write_csv(tmp_path), cache="memmap", cache_dir=str(tmp_path / "kept")).setup("validate")

    assert any((tmp_path / "kept").rglob("images.u8"))


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    path.write_bytes(path.read_bytes() + "\nmösch.jpg".encode("latin-1"))

    with pytest.raises(DataError, match=r"data\.csv is not written in UTF-8; save it as a CSV or text file in UTF-8"):
        own(path).prepare_data()


def test_mask_of_another_size_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    resize_image(tmp_path / "masks/image 0.png", (5, 6))

    with pytest.raises(DataError, match=r"mask \S+image 0\.png has 5x6 pixels but its image"):
        own(path).fetch("train", [0])


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
