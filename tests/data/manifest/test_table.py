from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.table import COLUMNS, Card, ManifestTable, Row

CARD = Card("birds", "v1", ("wren", "heron"), ("land", "water"), mask_kind="soft", notes=("mind the gap",))
ROWS = [
    Row(
        "b",
        "train",
        1,
        'images/b, "the" second.png',
        0,
        "masks/b.png",
        (1.0, 2.0, 3.5, 4.0),
        10,
        12,
        "s",
        "p",
        "e",
        "f",
        ((0.0, 0.5, 1.0, 1.0), (2.0, 2.0, 3.0, 3.25)),
    ),
    Row("a", "train", 0, "images/a.png"),
    Row("a", "test", 1, "images/c.png", 1),
]


def test_rows_are_sorted_and_grouped() -> None:
    table = ManifestTable(CARD, ROWS)

    assert [(row.split, row.id) for row in table.rows] == [("test", "a"), ("train", "a"), ("train", "b")]
    assert table.splits == ("test", "train")
    assert [table.group_of(row) for row in table.rows] == [3, -1, 2]
    assert table.counts("train") == (0, 0, 1, 0)
    assert CARD.group_names == ("wren/land", "wren/water", "heron/land", "heron/water")


def test_counts_per_class_where_there_are_no_attributes() -> None:
    table = ManifestTable(Card("birds", "v1", ("wren", "heron", "owl")), ROWS[1:2])

    assert table.counts("train") == (1, 0, 0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = ManifestTable(CARD, ROWS)

    table.write(tmp_path)
    again = ManifestTable.read(tmp_path)

    assert again.rows == table.rows
    assert again.card == CARD
    assert again.digest == table.digest
    assert (tmp_path / "manifest.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert json.loads((tmp_path / "dataset.json").read_text())["counts"] == {
        "test": [0, 0, 0, 1],
        "train": [0, 0, 1, 0],
    }


def test_digest_depends_on_rows_and_card_alone() -> None:
    digest = ManifestTable(CARD, ROWS).digest

    assert ManifestTable(CARD, reversed(ROWS)).digest == digest
    assert ManifestTable(CARD, ROWS[:2]).digest != digest
    assert ManifestTable(Card("birds", "v2", CARD.classes, CARD.attributes), ROWS).digest != digest


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row("x", "train", 2), r"label 2 of 'x' \(split 'train'\) is out of range: birds has 2 classes"),
        (Row("x", "train", -1), "label -1"),
        (Row("x", "train", 0, attribute=2), "attribute 2 of 'x'"),
        (Row("a", "train", 0), "id 'a' occurs twice in split 'train'"),
    ],
)
def test_bad_rows(row: Row, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ManifestTable(CARD, [*ROWS, row])


def test_no_rows_and_no_split() -> None:
    with pytest.raises(DataError, match="has no rows"):
        ManifestTable(CARD, [])
    with pytest.raises(DataError, match="birds has no split 'val'; it has test, train"):
        ManifestTable(CARD, ROWS).split("val")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"^A prepared data set not found\.\n  looked for  \S+/manifest\.csv\n"
    ):
        ManifestTable.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("manifest.csv", "label", "lable", r"manifest\.csv lacks the column 'label'; it has id, image, split, lable"),
        ("manifest.csv", "test,1,1,3", "test,one,1,3", r"manifest\.csv, line 2: invalid literal"),
        ("manifest.csv", "test,1,1,3", "test,1,1,2", r"line 2: group 2 is not label 1 \* 2 \+ attribute 1"),
        (
            "manifest.csv",
            "1.0,2.0,3.5,4.0",
            "1.0,2.0,3.5,",
            "line 4: the box 1.0, 2.0, 3.5,  is not made of four numbers",
        ),
        ("manifest.csv", "1.0 1.0 2.0", "1.0 2.0", "line 4: more_boxes lists 7 numbers; a box has four"),
        ("manifest.csv", "images/c.png", "images/d.png", "was changed after dataset.json was written"),
        ("dataset.json", '"schema_version": 1', '"schema_version": 9', "schema_version 9, this version reads 1"),
        ("manifest.csv", "test,1,1,3,", "test\n,", "line 2: the line has fewer cells than the header has columns"),
        ("dataset.json", "{", "", r"dataset\.json is not JSON"),
        ("dataset.json", '"variant"', '"variety"', r"dataset\.json lacks the key 'variant'"),
    ],
)
def test_damaged_files(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    ManifestTable(CARD, ROWS).write(tmp_path)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))

    with pytest.raises(DataError, match=message):
        ManifestTable.read(tmp_path)


def test_counts_that_are_stated_without_a_digest(tmp_path: Path) -> None:
    ManifestTable(CARD, ROWS).write(tmp_path)
    description = json.loads((tmp_path / "dataset.json").read_text())
    del description["manifest_sha256"]
    description["counts"]["test"][0] += 1
    (tmp_path / "dataset.json").write_text(json.dumps(description))

    with pytest.raises(DataError, match=r"images in split 'test', but dataset\.json says \["):
        ManifestTable.read(tmp_path)
