from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, MetaShift
from maskexp.data.datasets.metashift import KNOWN_COUNTS
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_metashift, write_scene_graphs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_metashift(tmp_path / "MetaShift-Cat-Dog-indoor-outdoor")


def open_it(root: Path, **arguments: object) -> MetaShift:
    return MetaShift(str(root), cache_dir=str(root.parent / "cache"), image_size=8, num_workers=0, **arguments)


def test_groups_and_sizes(root: Path) -> None:
    data = open_it(root.parent)

    assert data.spec.group_names == ("dog/outdoor", "dog/indoor", "cat/outdoor", "cat/indoor")
    assert {split: len(data.dataset(split)) for split in ("train", "val", "test")} == {
        "train": 26,
        "val": 4,
        "test": 10,
    }
    assert [int(share * 3499) for share in (0.25, 0.1)] == [KNOWN_COUNTS["official"][s][0] for s in ("test", "val")]
    for row in data.table.rows:
        animal, _, place = row.image.split("/")[2].rstrip(")").partition("(")
        assert (row.label, row.attribute) == (animal == "cat", place == "indoor")
    assert sum(sum(data.table.counts(split)) for split in data.table.splits) == 40
    assert check_data("MetaShift", root=root, decode=True, custom=True).ok


def test_boxes_of_the_scene_graphs(root: Path, tmp_path: Path) -> None:
    data = open_it(root, scene_graphs=str(write_scene_graphs(tmp_path / "graphs", root)))
    boxes = {row.image.rsplit("/", 1)[1]: row.boxes for row in data.table.rows if row.label == 0}

    assert data.spec.foreground == "box"
    assert boxes["2000000.jpg"] == ((1, 2, 6, 6), (2, 2, 7, 6))
    assert boxes["2000001.jpg"] == ()
    cats = [row for row in data.table.rows if row.label == 1]  # some images are in folders of both animals
    assert {box[1] for row in cats for box in row.boxes} == {3}
    assert boxes["2000002.jpg"] == ((1, 2, 6, 6),)
    assert "36 of 40 images have boxes of their animal" in data.notes
    one = open_it(root, scene_graphs=str(tmp_path / "graphs/val_sceneGraphs.json"))
    assert 0 < sum(bool(row.box) for row in one.table.rows) < 36


@pytest.mark.parametrize("text", ["{", "[]", '{"2000000": {}}', '{"2000000": {"objects": {"1": {"name": "cat"}}}}'])
def test_damaged_scene_graphs(text: str, root: Path, tmp_path: Path) -> None:
    path = write_scene_graphs(tmp_path / "graphs", root) / "train_sceneGraphs.json"
    path.write_text(text)

    with pytest.raises(DataError, match=r"train_sceneGraphs\.json is no file of GQA's scene graphs"):
        open_it(root, scene_graphs=str(path)).prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"scene graphs not found(.|\n)*sceneGraphs\.zip(.|\n)*scene_graphs"):
        open_it(root, scene_graphs=str(tmp_path / "nowhere")).prepare_data()


def test_split_depends_on_its_seed_alone(root: Path) -> None:
    drawn = open_it(root).dataset("test").ids.tolist()

    assert open_it(root, seed=5).dataset("test").ids.tolist() == drawn
    assert open_it(root, split_seed=1).dataset("test").ids.tolist() != drawn


def test_bad_input(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"MetaShift not found(.|\n)*nowhere(.|\n)*metashift\.tar\.gz"):
        open_it(tmp_path / "nowhere").prepare_data()
    shutil.rmtree(root / "test/dog")
    with pytest.raises(DataError, match=r"test/dog/dog\(indoor\) has no images; extract the archive again"):
        open_it(root).prepare_data()
