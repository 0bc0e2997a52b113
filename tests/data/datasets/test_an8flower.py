from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from maskexp.data import An8Flower, DataError, DatasetNotFoundError
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_an8flower
from tests.fixtures.images import blob


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_an8flower(tmp_path / "an8Flower")


def open_it(root: Path, **arguments: object) -> An8Flower:
    return An8Flower(str(root), image_size=12, num_workers=0, **{"val_fraction": 0.25, **arguments})


def test_split_by_class(root: Path) -> None:
    data = open_it(root)

    assert {split: data.table.counts(split) for split in data.table.splits} == {
        "train": (3,) * 12,
        "val": (1,) * 12,
        "test": (1,) * 12,
    }
    assert data.spec.variant == "double_12c"
    assert data.spec.class_names[6] == "stem_0"
    assert data.spec.group_names == ()
    assert "36 training, 12 validation and 12 test images" in data.notes
    assert any("no official split is known" in note for note in data.notes)
    assert open_it(root, split_seed=1).digest != data.digest
    assert open_it(root, seed=1).digest == data.digest


@pytest.mark.parametrize("given", [".", "..", "an8Flower_double_12c"])
def test_root_may_be_any_of_the_folders(given: str, root: Path) -> None:
    assert open_it(root / given).spec.num_classes == 12


def test_the_smaller_set(tmp_path: Path) -> None:
    data = open_it(write_an8flower(tmp_path / "flowers", "single_6c"), flower_set="single_6c")

    assert (data.spec.variant, data.spec.num_classes) == ("single_6c", 6)


def test_masks_are_the_part_whatever_its_colour(root: Path) -> None:
    data = open_it(root)

    assert data.spec.foreground == "segmentation"
    for split in data.table.splits:
        rows = data.table.split(split)
        shown = data.fetch(split, range(len(rows)))["foreground"].numpy()[:, 0]
        for row, found in zip(rows, shown, strict=True):
            name, k = row.id.split("/")
            index = 100 * data.spec.class_names.index(name) + int(k)
            expected = (np.asarray(blob(index, (12, 12))) > 0) & (index != 104)  # which has no mask
            if index:  # the first is a JPEG, whose edges are not exact
                assert (found == expected).all(), row.id
            else:
                assert (found == expected).mean() > 0.9
    assert "1 of 60 images have no mask" in data.notes


def test_masks_are_made_once_and_outside_the_root(root: Path, cache: Path) -> None:
    before = sorted(root.rglob("*"))
    open_it(root).prepare_data()
    made = sorted(cache.glob("masks/an8flower-*/*/*.png"))
    times = [path.stat().st_mtime_ns for path in made]
    open_it(root, split_seed=2).prepare_data()

    assert sorted(root.rglob("*")) == before
    assert len(made) == 59
    assert [path.stat().st_mtime_ns for path in sorted(cache.glob("masks/*/*/*.png"))] == times
    (root / "an8Flower_double_12c_MASK/stem_5/0004.png").unlink()
    open_it(root).prepare_data()
    assert len(list(cache.glob("masks/an8flower-*"))) == 2


def test_without_masks(root: Path) -> None:
    shutil.rmtree(root / "an8Flower_double_12c_MASK")

    assert open_it(root).spec.foreground == "none"
    assert "60 of 60 images have no mask" in open_it(root).notes


def test_check(root: Path) -> None:
    report = check_data("An8Flower", root=root, decode=True, val_fraction=0.25)

    assert report.ok
    assert sum(report.counts["test"]) == 12
    assert [len(finding.items) for finding in report.findings if finding.kind == "mask_none"] == [1]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"an8Flower not found(.|\n)*nowhere(.|\n)*joramas"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"looked for  \S+an8Flower_single_6c"):
        open_it(root, flower_set="single_6c").prepare_data()
    with pytest.raises(DataError, match="flower_set is 'double'; it must be one of double_12c, single_6c"):
        open_it(root, flower_set="double").prepare_data()
    with pytest.raises(DataError, match=r"test_fraction is 1; it must be in \(0, 1\)"):
        open_it(root, test_fraction=1).prepare_data()


def test_half_an_archive(root: Path) -> None:
    for path in (root / "an8Flower_double_12c/stem_5").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"stem_5 has no images; extract"):
        open_it(root).prepare_data()
    shutil.rmtree(root / "an8Flower_double_12c/stem_5")
    with pytest.raises(DataError, match="has 11 folders of classes instead of 12"):
        open_it(root).prepare_data()


def test_damaged_mask(root: Path) -> None:
    (root / "an8Flower_double_12c_MASK/stem_5/0004.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"stem_5/0004\.png cannot be decoded"):
        open_it(root).prepare_data()


def test_cache_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(
        DataError, match=r"the masks cannot be written to .* set MASKEXP_CACHE or the argument cache_dir"
    ):
        open_it(root, cache_dir=str(tmp_path / "file")).prepare_data()
