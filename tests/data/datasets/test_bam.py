from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maskexp.data import BAM, DataError, DatasetNotFoundError
from maskexp.data.datasets.bam import OBJECTS, SCENES, read_cutouts
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_bam


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bam(tmp_path_factory.mktemp("bam") / "data", ("obj", "scene", "scene_only"))


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(drawn, tmp_path / "data", ignore=shutil.ignore_patterns("scene*"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))


def open_it(root: Path, **arguments: object) -> BAM:
    return BAM(str(root), image_size=16, num_workers=0, **{"val_fraction": 1 / 3, **arguments})


def test_labels_of_objects_and_of_scenes(drawn: Path) -> None:
    objects, scenes = open_it(drawn.parent), open_it(drawn, label_set="scene")

    assert (objects.spec.class_names, objects.spec.attribute_names) == (OBJECTS, SCENES)
    assert (scenes.spec.class_names, scenes.spec.attribute_names) == (SCENES, OBJECTS)
    for data in (objects, scenes):
        assert {split: len(data.table.split(split)) for split in data.table.splits} == {
            "train": 200,
            "val": 100,
            "test": 200,
        }
        assert set(data.table.counts("test")) == {2}
    for one, other in zip(objects.table.split("test"), scenes.table.split("test"), strict=True):
        thing, scene, _ = one.id.split("-")
        assert (one.id, one.label, one.attribute) == (other.id, other.attribute, other.label)
        assert (OBJECTS[one.label], SCENES[one.attribute]) == (thing, scene)


def test_scenes_without_objects(drawn: Path) -> None:
    data = open_it(drawn, label_set="scene_only")

    assert (data.spec.class_names, data.spec.attribute_names, data.spec.foreground) == (SCENES, (), "none")
    assert not any("stop_sign" in note for note in data.notes)


def test_masks_are_pasted_where_the_object_is(drawn: Path) -> None:
    data = open_it(drawn)
    rows = data.table.split("test")
    index = next(i for i, row in enumerate(rows) if row.id == "bird-cockpit-0901")
    shown = data.fetch("test", [index])["foreground"][0, 0].numpy()

    assert rows[index].box == (1, 0, 7, 8)  # left 1 % 5, top 4 % 4, and 6 by 8 pixels
    # The cut-out of (bird, 901) is the fourth: 4 rows of 5, of which the first 3 are empty.
    assert not shown[:5].any()
    assert shown[7:8, 1:7].all()
    assert not shown[8:].any()
    assert not shown[:, 7:].any()
    assert data.dataset("test").has_foreground.all()
    assert not data.dataset("train").has_foreground.any()


def test_boxes_where_there_are_no_masks(root: Path) -> None:
    (root / "obj/val_mask").unlink()
    data = open_it(root)

    assert data.spec.foreground == "box"
    assert data.fetch("test", [0])["foreground"].sum() == 8 * 6


def test_validation_shares_no_number_with_training(drawn: Path) -> None:
    data = open_it(drawn)
    numbers = {split: {row.id[-4:] for row in data.table.split(split)} for split in data.table.splits}

    assert len(numbers["val"]) == 1
    assert numbers["train"] | numbers["val"] == {"0000", "0001", "0002"}
    assert numbers["test"] == {"0900", "0901"}
    drawn_anew = {tuple(open_it(drawn, val_seed=seed).dataset("val").ids) for seed in range(8)}
    assert 1 < len(drawn_anew) <= 3
    assert len(open_it(drawn, val_fraction=0).table.split("val")) == 200


def test_dropped_names(drawn: Path) -> None:
    data = open_it(drawn, drop=["stop_sign", "track"])

    assert (len(data.spec.class_names), len(data.spec.attribute_names)) == (9, 9)
    assert "stop_sign" not in data.spec.class_names
    assert len(data.table.split("test")) == 9 * 9 * 2
    assert "without stop_sign, track" in data.notes
    assert not any("arbitrary" in row.flags for row in data.table.rows)
    flags = Counter(row.flags for row in open_it(drawn).table.rows)
    assert flags == {"": 450, "arbitrary": 50}
    assert any("50 images named stop_sign show arbitrary objects" in note for note in open_it(drawn).notes)


def test_check(drawn: Path) -> None:
    report = check_data("BAM", root=drawn, val_fraction=1 / 3, decode=True)

    assert [finding.message.split(";")[0] for finding in report.findings if finding.severity == "error"] == [
        "train has 300 images, but obj has 90000",
        "test has 200 images, but obj has 10000",
    ]
    dropped = check_data("BAM", root=drawn, val_fraction=1 / 3, drop=["stop_sign"])
    assert "train has 270 images, but obj has 81000" in dropped.findings[0].message
    assert check_data("BAM", root=drawn, val_fraction=1 / 3, custom=True).ok


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"BAM not found(.|\n)*nowhere(.|\n)*its scripts"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"BAM's set scene not found(.|\n)*scene/val\.txt"):
        open_it(root, label_set="scene").prepare_data()
    with pytest.raises(DataError, match="label_set is 'objects'; it must be one of obj, scene, scene_only"):
        open_it(root, label_set="objects").prepare_data()
    with pytest.raises(DataError, match="drop names 'stop sign', which is no object and no scene: backpack"):
        open_it(root, drop=["stop sign"]).prepare_data()
    with pytest.raises(DataError, match=r"val_fraction 0\.01 holds out 0 of 3 numbers"):
        open_it(root, val_fraction=0.01).prepare_data()
    shutil.rmtree(root / "obj/train")
    with pytest.raises(DataError, match=r"obj/train has no images"):
        open_it(root).prepare_data()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("val.txt", "bird-cockpit-0900.jpg 1", "bird-cockpit-0900.jpg 4", "the label 4 instead of 1"),
        ("val.txt", "bird-cockpit-0900.jpg 1", "cat-cockpit-0900.jpg 1", "cat-cockpit-0900.jpg is not called <object>"),
        ("val.txt", "bird-cockpit-0900.jpg 1", "bird-cockpit-0900.jpg", r"val\.txt, line \d+: .* is not 'file value'"),
        ("val.txt", "bird-cockpit-0900.jpg 1", "bird-cockpit-0999.jpg 1", r"0999\.jpg is missing although its set"),
        ("val_loc.txt", "0,0,8,6", "0,0,8", r"val_loc\.txt: '0,0,8' of \S+ is not 'top,left,bottom,right'"),
    ],
)
def test_damaged_tables(name: str, old: str, new: str, message: str, root: Path) -> None:
    path = root / "obj" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    with pytest.raises(DataError, match=message):
        open_it(root).prepare_data()


class Evil:
    """Runs code when it is unpickled without care."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("evil"),)  # type: ignore[return-value]


def test_masks_that_run_code_are_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (root / "obj/val_mask").open("wb") as file:
        np.save(file, np.array([Evil(), None], object))

    with pytest.raises(DataError, match=r"val_mask is no array of masks \(it wants to run pathlib"):
        open_it(root).prepare_data()
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 4, 5), np.uint8), "holds 3 masks, but .* names 10 objects times 2 numbers"),
        (np.ones((20, 4), np.uint8), "holds something else than masks of two dimensions"),
        (np.array([{"mask": 1}] * 20, object), "is no array of masks"),
    ],
)
def test_other_arrays(values: np.ndarray, message: str, root: Path) -> None:
    with (root / "obj/val_mask").open("wb") as file:
        np.save(file, values)

    with pytest.raises(DataError, match=message):
        open_it(root).prepare_data()


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    for content in (b"", b"mask", pickle.dumps([1])):
        (tmp_path / "val_mask").write_bytes(content)
        with pytest.raises(DataError, match="val_mask is no array of masks"):
            read_cutouts(tmp_path / "val_mask")
