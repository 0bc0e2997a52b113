from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maskexp.data import DataError, DatasetNotFoundError, HardImageNet
from maskexp.data.datasets.hardimagenet import CLASSES
from maskexp.data.manifest.check import check_data
from tests.fixtures import resize_image, write_hardimagenet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_hardimagenet(tmp_path / "hardImageNet", tmp_path / "imagenet")


def open_it(root: Path, **arguments: object) -> HardImageNet:
    wishes = {"imagenet_root": str(root.parent / "imagenet"), "val_fraction": 0.4} | arguments
    return HardImageNet(str(root), cache_dir=str(root.parent / "cache"), image_size=24, num_workers=0, **wishes)


def test_images_with_masks(root: Path) -> None:
    data = open_it(root)

    assert {split: data.table.counts(split) for split in data.table.splits} == {
        "train": (2,) * 15,
        "val": (1,) * 15,  # round(0.4 * 3)
        "test": (1,) * 15,
    }
    assert data.spec.foreground == "segmentation"
    assert data.spec.class_names[:2] == ("dogsled", "howler monkey")
    for row in data.table.rows:
        assert row.image.split("/")[1] == list(CLASSES)[row.label]
        assert row.mask.partition("_")[2] == row.image.split("/")[2]
    assert not any("without" in row.id for row in data.table.rows)


def test_every_format_behind_the_name_jpeg(root: Path) -> None:
    formats = set()
    for path in (root / "train").iterdir():
        with Image.open(path) as mask:
            formats.add(mask.format)
    assert formats == {"PNG", "JPEG"}

    data = open_it(root)

    for split in ("train", "val", "test"):
        batch = data.fetch(split, range(len(data.dataset(split))))
        assert batch["image"].shape[1:] == (3, 24, 24)
        assert batch["has_foreground"].all()


def test_empty_masks_are_listed_by_check(root: Path) -> None:
    where = {"root": root, "imagenet_root": root.parent / "imagenet", "val_fraction": 0.4}
    report = check_data("HardImageNet", decode=True, **where)

    assert report.ok
    assert [(finding.kind, len(finding.items)) for finding in report.findings if finding.severity == "warning"] == [
        ("mask_empty", 1)
    ]


def test_notes(root: Path) -> None:
    assert open_it(root).notes == ["30 training, 15 validation and 15 test images with masks"]
    assert "validation is the test split" in open_it(root, val_fraction=0).notes[1]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"HardImageNet not found(.|\n)*nowhere(.|\n)*hardImageNet\.zip"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DataError, match=r"needs --data\.imagenet_root, the folder of the images"):
        open_it(root, imagenet_root=None).prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"HardImageNet's images not found(.|\n)*nowhere/val"):
        open_it(root, imagenet_root=str(tmp_path / "nowhere")).prepare_data()


def test_mask_of_another_class_or_size_and_missing_image(root: Path, tmp_path: Path) -> None:
    mask = min((root / "val").iterdir())
    size = resize_image(min((root / "train").iterdir()), (9, 9))
    with pytest.raises(DataError, match=rf"{size.name} has 9x9 pixels but its image"):
        open_it(root).prepare_data()
    (tmp_path / "imagenet/val" / mask.name.partition("_")[0] / mask.name.partition("_")[2]).unlink()
    size.unlink()
    with pytest.raises(DataError, match=r"ILSVRC2012_val_\d+\.JPEG is missing although the folder of the masks lists"):
        open_it(root).prepare_data()
    mask.rename(mask.with_name("n00000001_1.JPEG"))
    with pytest.raises(DataError, match=r"n00000001_1\.JPEG belongs to none of the fifteen classes"):
        open_it(root).prepare_data()
