from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.data import CelebA, DataError, DatasetNotFoundError
from maskexp.data.datasets import celeba as builder
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_celeba


def open_it(root: Path, **arguments: object) -> CelebA:
    return CelebA(str(root), cache_dir=str(root.parent / "cache"), image_size=8, num_workers=0, **arguments)


@pytest.mark.parametrize("kaggle", [False, True])
def test_groups(kaggle: bool, tmp_path: Path) -> None:
    data = open_it(write_celeba(tmp_path / "celeba", kaggle=kaggle))

    assert data.spec.group_names == (
        *("not Blond_Hair/not Male", "not Blond_Hair/Male", "Blond_Hair/not Male", "Blond_Hair/Male"),
    )
    assert len(data.table.rows) == 24
    for row in data.table.rows:
        i = int(row.id[:6]) - 1
        split = ("train", "val", "test", "test")[i % 4]
        assert (row.label, row.attribute, row.split) == (i % 3 == 0, i % 2 == 0, split)
    assert data.fetch("test", [0])["image"].shape == (1, 3, 8, 8)
    assert data.spec.foreground == "none"
    assert check_data("CelebA", root=tmp_path, decode=True).ok


def test_other_attributes(tmp_path: Path) -> None:
    data = open_it(write_celeba(tmp_path / "celeba"), target="Male", spurious="Blond_Hair")

    assert data.spec.class_names == ("not Male", "Male")
    assert all((row.label, row.attribute) == (int(row.id[:6]) % 2, int(row.id[:6]) % 3 == 1) for row in data.table.rows)


@pytest.mark.parametrize("variant", ["official", "custom"])
def test_known_counts(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_celeba(tmp_path / "celeba")
    table = open_it(root).table
    counts = {split: table.counts(split) for split in table.splits}
    known = {"official": counts} if variant == "official" else builder.KNOWN_COUNTS
    monkeypatch.setattr(builder, "KNOWN_COUNTS", known)

    data = CelebA(str(root), cache_dir=str(tmp_path / "other"))

    assert data.spec.variant == variant


def test_published_sums() -> None:
    assert [sum(counts) for counts in builder.KNOWN_COUNTS["official"].values()] == [162770, 19867, 19962]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "celeba")
    with pytest.raises(DatasetNotFoundError, match=r"CelebA not found(.|\n)*nowhere(.|\n)*data prepare CelebA"):
        open_it(tmp_path / "nowhere").prepare_data()
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"CelebA's list_eval_partition not found"):
        open_it(root).prepare_data()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "Male", "Mail", r"has no attribute 'Male'; it has Bald, Blond_Hair, Mail, Smiling"),
        ("list_attr_celeba.txt", "000002.jpg", "999999.jpg", r"does not say what image 000002\.jpg shows"),
        ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg", r"does not say what image 000002\.jpg shows"),
        ("list_eval_partition.txt", "000002.jpg 1", "000002.jpg 3", r"'000002\.jpg 3' is not 'image 0'"),
        ("list_eval_partition.txt", "000002.jpg 1", "000099.jpg 1", r"does not say what image 000099\.jpg shows"),
    ],
)
def test_damaged_tables(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "celeba")
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))

    with pytest.raises(DataError, match=message):
        open_it(root).prepare_data()


def test_missing_image(tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "celeba")
    (root / "img_align_celeba/000003.jpg").unlink()

    with pytest.raises(DataError, match=r"000003\.jpg is missing although list_eval_partition lists it"):
        open_it(root).prepare_data()
