from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, ImageNet100
from maskexp.data.datasets.imagenet100 import DIGESTS, LISTS, list_digest
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_imagenet

MINE = ("n00000003", "n00000001", "n00000002")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine.txt").write_text("\n".join(f"{wnid} some name" for wnid in MINE) + "\n")
    return write_imagenet(tmp_path / "imagenet", [*MINE, "n00000009"])


def open_it(root: Path, **arguments: object) -> ImageNet100:
    wishes = {"class_list": str(root.parent / "mine.txt"), "val_fraction": 0.25} | arguments
    return ImageNet100(str(root), cache_dir=str(root.parent / "cache"), image_size=24, num_workers=0, **wishes)


def test_named_list_has_its_published_digest() -> None:
    for name, wnids in LISTS.items():
        assert len(set(wnids)) == 100
        assert list(wnids) == sorted(wnids)
        assert list_digest(reversed(wnids)) == DIGESTS[name]


def test_classes_of_the_list_alone(root: Path) -> None:
    data = open_it(root)

    assert data.spec.class_names == tuple(sorted(MINE))
    assert {split: data.table.counts(split) for split in data.table.splits} == {
        "train": (3,) * 3,
        "val": (1,) * 3,
        "test": (2,) * 3,
    }
    assert all(row.image.split("/")[1] == sorted(MINE)[row.label] for row in data.table.rows)
    assert f"classes: a list of your own, 3 WordNet ids, sha256 {list_digest(MINE)}" in data.notes[1]
    assert check_data("ImageNet100", root=root, class_list=root.parent / "mine.txt", val_fraction=0.25).ok


def test_default_list_is_named(tmp_path: Path) -> None:
    data = open_it(write_imagenet(tmp_path / "imagenet", LISTS["cmc"], 1, 1), class_list="cmc", val_fraction=0)

    assert data.spec.num_classes == 100
    assert data.spec.variant == "custom"
    assert any(note.startswith("classes: cmc, 100 WordNet ids, sha256 5ee5db69d488") for note in data.notes)


def test_boxes_of_kaggle(root: Path, tmp_path: Path) -> None:
    image = min((root / "val").glob("n00000001/*"))
    (tmp_path / "LOC.csv").write_text(f"ImageId,PredictionString\n{image.stem},n1 1 2 11 12 n1 20 20 22 22\n")
    data = open_it(root, boxes=str(tmp_path / "LOC.csv"))

    assert data.spec.foreground == "box"
    assert [row.boxes for row in data.table.split("test") if row.boxes] == [((1, 2, 11, 12), (20, 20, 22, 22))]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"ImageNet-100 not found(.|\n)*nowhere(.|\n)*after registration"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DataError, match=r"train/n01558993 has no images; ImageNet-100 needs \{train,val\}/<wnid>/"):
        open_it(root, class_list="cmc").prepare_data()


@pytest.mark.parametrize(
    ("text", "message"),
    [("n1\n", "'n1' is no WordNet id"), ("", "it is empty"), ("n00000001\nn00000001\n", "an id occurs twice")],
)
def test_damaged_list(text: str, message: str, root: Path) -> None:
    with pytest.raises(DataError, match="class_list 'nowhere' is neither a file nor one of the lists cmc"):
        open_it(root, class_list="nowhere").prepare_data()
    (root.parent / "mine.txt").write_text(text)
    with pytest.raises(DataError, match=rf"mine\.txt is no list of WordNet ids .*: {message}"):
        open_it(root).prepare_data()
