"""Boxes of ImageNet's localisation challenge (ILSVRC), in the three forms in which they are handed around."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.table import Box

__all__ = ["Annotation", "read_ilsvrc_boxes", "scaled"]

OBJECT = re.compile(r"<bndbox>(.*?)</bndbox>", re.DOTALL)
NUMBER = re.compile(r"<(xmin|ymin|xmax|ymax|width|height)>\s*(\d+)\s*</\1>")
GET_IT = (
    "ILSVRC2012_bbox_train_v2.tar.gz and ILSVRC2012_bbox_val_v3.tgz (XML), Kaggle's LOC_train_solution.csv and "
    "LOC_val_solution.csv, or metadata/ILSVRC/test/localization.txt of clovaai/wsolevaluation"
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known about one picture.

    Attributes:
        boxes: one per object.
        size: (width, height) of the picture that they were drawn on, None where that is not known.
    """

    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None


def read_ilsvrc_boxes(path: Path, images: Iterable[Path]) -> dict[str, Annotation]:
    """Read the boxes of some pictures.

    Args:
        path: a folder of XML files (``<stem>.xml``, in folders by class or not), Kaggle's ``LOC_*_solution.csv``, or
            ``localization.txt`` of clovaai/wsolevaluation.
        images: paths ``…/<wnid>/<stem>.JPEG`` of the pictures.

    Returns:
        An annotation by stem of each picture that has one. ImageNet's training pictures have boxes only in part.

    Raises:
        DatasetNotFoundError: if there is nothing.
        DataError: if a line or file is damaged.
    """
    if not path.exists():
        raise DatasetNotFoundError.explained("ImageNet's boxes", str(path), GET_IT, "--data.boxes")
    if path.is_dir():
        return _from_folder(path, images)
    found = _from_kaggle(path) if path.suffix == ".csv" else _from_lines(path)
    return {image.stem: Annotation(tuple(found[image.stem])) for image in images if image.stem in found}


def scaled(annotation: Annotation, size: tuple[int, int]) -> tuple[Box, ...]:
    """Return the boxes in the pixels of a picture that was stored in another size than it was annotated in."""
    if annotation.size is None or annotation.size == size:
        return annotation.boxes
    x, y = size[0] / annotation.size[0], size[1] / annotation.size[1]
    return tuple((x0 * x, y0 * y, x1 * x, y1 * y) for x0, y0, x1, y1 in annotation.boxes)


def _from_folder(folder: Path, images: Iterable[Path]) -> dict[str, Annotation]:
    """Read XML files in the layout of the official archives."""
    found = {}
    for image in images:
        name, wnid = f"{image.stem}.xml", image.parent.name
        places = (folder / name, folder / wnid / name, folder / "val" / name, folder / "train" / wnid / name)
        for path in places:
            if path.is_file():
                found[image.stem] = _annotation(path)
                break
    return found


def _annotation(path: Path) -> Annotation:
    """Read one XML file."""
    text = path.read_text(encoding="utf-8")
    size = {name: int(number) for name, number in NUMBER.findall(OBJECT.sub("", text))}
    boxes = [{name: float(number) for name, number in NUMBER.findall(block)} for block in OBJECT.findall(text)]
    try:
        corners = tuple((box["xmin"], box["ymin"], box["xmax"], box["ymax"]) for box in boxes)
        annotation = Annotation(corners, (size["width"], size["height"]))
    except KeyError as error:
        raise DataError(f"{path} says no {error.args[0]}; extract the archive again") from error
    if not boxes:
        raise DataError(f"{path} has no box; extract the archive again")
    return annotation


def _from_kaggle(path: Path) -> dict[str, list[Box]]:
    """Read lines ``ImageId,wnid x0 y0 x1 y1 wnid x0 y0 x1 y1 …``."""
    found = {}
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            words = (cells.get("PredictionString") or "").split()
            if not words or len(words) % 5 or not cells.get("ImageId"):
                raise DataError(f"{path}: {cells} is not 'ImageId,wnid x0 y0 x1 y1 …'")
            found[cells["ImageId"]] = [_box(words[i + 1 : i + 5], path) for i in range(0, len(words), 5)]
    return found


def _from_lines(path: Path) -> dict[str, list[Box]]:
    """Read lines ``val/<stem>.JPEG,x0,y0,x1,y1``, several of them for a picture with several objects."""
    found: dict[str, list[Box]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *corners = line.split(",")
        found.setdefault(Path(name).stem, []).append(_box(corners, path))
    return found


def _box(words: list[str], path: Path) -> Box:
    try:
        x0, y0, x1, y1 = (float(word) for word in words)
    except ValueError as error:
        raise DataError(f"{path}: {','.join(words)!r} is not a box x0,y0,x1,y1") from error
    return x0, y0, x1, y1
