from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, Imagenette, ImageWoof
from maskexp.data.datasets.imagenette import ImagenetteLayout, ImageWoofLayout
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_boxes, write_imagenet

WNIDS = list(ImagenetteLayout.wnids)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "imagenette2-160", WNIDS)


def open_it(root: Path, kind: type[Imagenette] = Imagenette, **arguments: object) -> Imagenette:
    wishes = {"val_fraction": 0.25, "cache_dir": str(root.parent / "cache")} | arguments
    return kind(str(root), image_size=24, num_workers=0, **wishes)


@pytest.mark.parametrize("above", [False, True])
def test_splits_and_classes(above: bool, root: Path) -> None:
    data = open_it(root.parent if above else root)

    counts = {split: data.table.counts(split) for split in data.table.splits}
    assert counts == {"train": (3,) * 10, "val": (1,) * 10, "test": (2,) * 10, "unseen": (1,) * 10}
    assert data.spec.class_names[0] == "tench"
    assert data.spec.foreground == "none"
    assert all(row.image.split("/")[1] == WNIDS[row.label] for row in data.table.rows)
    assert all(row.image.startswith("val/") == (row.split in ("test", "unseen")) for row in data.table.rows)
    assert check_data("Imagenette", root=root, val_fraction=0.25, decode=True, custom=True).ok


def test_what_pretrained_backbones_have_seen(root: Path) -> None:
    data = open_it(root, test_split="unseen")

    assert all(identity.startswith("ILSVRC2012_val_") for identity in data.dataset("test").ids)
    assert any(note.startswith("10 of 20 test images are from ImageNet's training set") for note in data.notes)


def test_imagewoof(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path / "imagewoof2", list(ImageWoofLayout.wnids))
    data = open_it(root.parent, ImageWoof)

    assert (data.spec.name, data.spec.class_names[2]) == ("imagewoof", "beagle")
    with pytest.raises(DataError, match=r"train/n01440764 has no images; Imagenette needs \{train,val\}/<wnid>/"):
        open_it(root).prepare_data()


@pytest.mark.parametrize("scale", [1, 3])
def test_boxes_are_scaled_and_united(scale: int, root: Path, tmp_path: Path) -> None:
    images = sorted((root / "val").glob("*/*.JPEG"))
    boxes = write_boxes(tmp_path / "boxes", images[:-1], scale)
    data = open_it(root, boxes=str(boxes))
    row = next(row for row in data.table.split("test") if row.id == images[0].stem)

    assert data.spec.foreground == "box"
    assert row.boxes == ((2.0, 3.0, 20.0, 23.0), (30.0, 1.0, 33.0, 5.0))
    assert data.pixels("test").read(data.table.split("test").index(row))[3].count_nonzero() == 18 * 20 + 3 * 4
    assert data.dataset("test").has_foreground.sum() == 19
    assert "19 of 20 test images have boxes" in data.notes


def test_noisy_labels(root: Path) -> None:
    images = sorted((root / "train").glob("*/*.JPEG"))
    lines = [f"{path.relative_to(root).as_posix()},{path.parent.name},False" for path in images]
    lines[5] = lines[5].replace(f",{WNIDS[1]}", f",{WNIDS[7]}")
    (root / "noisy_imagenette.csv").write_text("\n".join(["path,noisy_labels_5,is_valid", *lines]))
    data = open_it(root, label_noise=5)

    wrong = [row for row in data.table.rows if row.flags == "noisy"]
    assert [(row.id, row.label) for row in wrong] == [(images[5].stem, 7)]
    assert "label_noise 5: 1 training and validation labels are wrong on purpose" in data.notes
    with pytest.raises(DataError, match=r"lacks the column 'noisy_labels_50'; it has path, noisy_labels_5, is_valid"):
        open_it(root, label_noise=50).prepare_data()
    (root / "noisy_imagenette.csv").write_text("path,noisy_labels_5\n")
    with pytest.raises(DataError, match=r"noisy_imagenette\.csv gives train/\S+ the label ''"):
        open_it(root, label_noise=5).prepare_data()


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"Imagenette not found(.|\n)*nowhere(.|\n)*imagenette2-160\.tgz"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match="ImageNet's boxes not found"):
        open_it(root, boxes=str(tmp_path / "nowhere")).prepare_data()
    with pytest.raises(DataError, match=r"noisy_imagenette\.csv is missing; label_noise needs the labels"):
        open_it(root, label_noise=1).prepare_data()
    (tmp_path / "LOC_val_solution.csv").write_text("")
    with pytest.raises(DataError, match="does not say in which size the images were annotated"):
        open_it(root, boxes=str(tmp_path / "LOC_val_solution.csv")).prepare_data()
