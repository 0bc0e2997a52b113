from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.data.datasets.shared.imagenet import Annotation, read_ilsvrc_boxes, scaled
from maskexp.data.errors import DataError, DatasetNotFoundError
from tests.fixtures.imagenet import OBJECT, XML

IMAGES = [Path("val/n01/ILSVRC2012_val_00000001.JPEG"), Path("train/n01/n01_7.JPEG"), Path("train/n01/n01_8.JPEG")]
TWO = ((10.0, 20.0, 30.0, 40.0), (1.0, 2.0, 3.0, 4.0))


def test_three_forms_say_the_same(tmp_path: Path) -> None:
    objects = "".join(OBJECT.format("n01", *map(int, box)) for box in TWO)
    (tmp_path / "xml/val").mkdir(parents=True)
    (tmp_path / "xml/val/ILSVRC2012_val_00000001.xml").write_text(XML.format(50, 60, objects))
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01 10 20 30 40 n01 1 2 3 4 \n"
    )
    (tmp_path / "localization.txt").write_text(
        "val/ILSVRC2012_val_00000001.JPEG,10,20,30,40\nval/ILSVRC2012_val_00000001.JPEG,1,2,3,4\n"
    )

    for name, size in (("xml", (50, 60)), ("LOC_val_solution.csv", None), ("localization.txt", None)):
        assert read_ilsvrc_boxes(tmp_path / name, IMAGES) == {"ILSVRC2012_val_00000001": Annotation(TWO, size)}


@pytest.mark.parametrize("place", ["n01_7.xml", "n01/n01_7.xml", "train/n01/n01_7.xml"])
def test_layouts_of_the_archives(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(XML.format(50, 60, OBJECT.format("n01", 1, 2, 3, 4)))

    assert list(read_ilsvrc_boxes(tmp_path, IMAGES)) == ["n01_7"]


def test_scaling() -> None:
    assert scaled(Annotation(TWO, (100, 60)), (50, 30)) == ((5.0, 10.0, 15.0, 20.0), (0.5, 1.0, 1.5, 2.0))
    assert scaled(Annotation(TWO, None), (50, 30)) == TWO


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n01_7.xml", XML.format(50, 60, ""), r"n01_7\.xml has no box"),
        ("n01_7.xml", XML.replace("height", "depth").format(50, 60, ""), "says no height"),
        ("n01_7.xml", XML.format(5, 6, OBJECT.format("n", 1, 2, "x", 4)), "says no xmax"),
        ("a.csv", "ImageId,PredictionString\nx,n01 1 2 3\n", "is not 'ImageId,wnid x0 y0 x1 y1"),
        ("a.csv", "ImageId,PredictionString\nx,n01 1 2 3 ?\n", r"'1,2,3,\?' is not a box"),
        ("a.txt", "val/x.JPEG,1,2,3\n", "'1,2,3' is not a box x0,y0,x1,y1"),
    ],
)
def test_damaged_boxes(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(DataError, match=message):
        read_ilsvrc_boxes(tmp_path if name.endswith("xml") else tmp_path / name, IMAGES)


def test_missing_boxes(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"ImageNet's boxes not found(.|\n)*--data\.boxes"):
        read_ilsvrc_boxes(tmp_path / "nowhere", IMAGES)
