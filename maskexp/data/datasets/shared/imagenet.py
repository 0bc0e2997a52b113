"""Subsets of ImageNet in its own layout ``{train,val}/<wnid>/*.JPEG``, and the boxes of ILSVRC."""

from __future__ import annotations

import csv
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.loading.image_files import stored_size
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.prepared import in_parallel
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Box, Row
from maskexp.data.text_files import opened_text, text_of

__all__ = ["Annotation", "WordNetLayout", "read_ilsvrc_boxes", "scaled"]

OBJECT = re.compile(r"<bndbox>(.*?)</bndbox>", re.DOTALL)
NUMBER = re.compile(r"<(xmin|ymin|xmax|ymax|width|height)>\s*(\d+)\s*</\1>")
GET_IT = (
    "ILSVRC2012_bbox_train_v2.tar.gz and ILSVRC2012_bbox_val_v3.tgz (XML), Kaggle's LOC_train_solution.csv and "
    "LOC_val_solution.csv, or metadata/ILSVRC/test/localization.txt of clovaai/wsolevaluation"
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known about one image.

    Attributes:
        boxes: one per object.
        size: (width, height) of the image that they were drawn on, None where that is not known.
    """

    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None


def read_ilsvrc_boxes(path: Path, images: Iterable[Path]) -> dict[str, Annotation]:
    """Read the boxes of some images.

    Args:
        path: a folder of XML files (``<stem>.xml``, in folders by class or not), Kaggle's ``LOC_*_solution.csv``, or
            ``localization.txt`` of clovaai/wsolevaluation.
        images: paths ``…/<wnid>/<stem>.JPEG`` of the images.

    Returns:
        An annotation by stem of each image that has one. ImageNet's training images have boxes only in part.

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
    """Return the boxes in the pixels of an image that was stored in another size than it was annotated in."""
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
    text = text_of(path)
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
    with opened_text(path) as file:
        for cells in csv.DictReader(file):
            words = (cells.get("PredictionString") or "").split()
            if not words or len(words) % 5 or not cells.get("ImageId"):
                raise DataError(f"{path}: {cells} is not 'ImageId,wnid x0 y0 x1 y1 …'")
            found[cells["ImageId"]] = [_box(words[i + 1 : i + 5], path) for i in range(0, len(words), 5)]
    return found


def _from_lines(path: Path) -> dict[str, list[Box]]:
    """Read lines ``val/<stem>.JPEG,x0,y0,x1,y1``, several of them for an image with several objects."""
    found: dict[str, list[Box]] = {}
    for line in text_of(path).splitlines():
        name, *corners = line.split(",")
        found.setdefault(Path(name).stem, []).append(_box(corners, path))
    return found


def _box(words: list[str], path: Path) -> Box:
    try:
        x0, y0, x1, y1 = (float(word) for word in words)
    except ValueError as error:
        raise DataError(f"{path}: {','.join(words)!r} is not a box x0,y0,x1,y1") from error
    return x0, y0, x1, y1


SPLITS = {"train": "train", "val": "test"}
"""The official validation images are our test images; validation is held out of training."""


@dataclass(frozen=True, slots=True)
class WordNetLayout(HeldOutLayout):
    """Where the parts of a subset of ImageNet lie.

    Attributes:
        root: folder with ``train`` and ``val``.
        boxes: folder or file of ILSVRC's boxes, None where they are not wanted.
        known_counts: counts of the published releases.
    """

    boxes: Path | None

    needed: ClassVar[str] = "val"
    licence: ClassVar[str] = "terms of ImageNet"
    known_counts: ClassVar[Mapping[str, Counts]]
    places: ClassVar[dict[str, str]] = {
        "boxes": "ILSVRC's boxes: folder of XML, LOC_val_solution.csv, localization.txt"
    }

    @property
    @abstractmethod
    def named(self) -> Mapping[str, str]:
        """Name by WordNet id, in the order of the labels."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return tuple(self.named.values())

    def source_paths(self) -> list[Path]:
        """Return the folders of all classes, and the boxes."""
        folders = [self.root / split / wnid for split in SPLITS for wnid in self.named]
        return folders if self.boxes is None else [*folders, self.boxes]

    def rows(self) -> list[Row]:
        """List the images and join their boxes by name.

        Raises:
            DataError: if a class has no images, or boxes are damaged.
        """
        rows = [row for folder in SPLITS for row in self._listed(folder)]
        return self.held_out(rows if self.boxes is None else self._boxed(rows, self.boxes))

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that there are boxes, if there are."""
        return "none", "ilsvrc_boxes" if any(row.box for row in rows) else ""

    def published_counts(self) -> Mapping[str, Counts]:
        """Return :attr:`known_counts`."""
        return self.known_counts

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say how many test images have boxes."""
        tested = [row for row in rows if row.split == "test"]
        boxed = f"{sum(bool(row.box) for row in tested)} of {len(tested)} test images have boxes"
        return (*HeldOutLayout.notes(self, rows), *([] if self.boxes is None else [boxed]))

    def _listed(self, folder: str) -> Iterator[Row]:
        """Yield one row per image in ``root/folder/<wnid>``."""
        for label, wnid in enumerate(self.named):
            place = self.root / folder / wnid
            found = image_files(place)
            if not found:
                raise DataError(
                    f"{place} has no images; {self.info.title} needs {{train,val}}/<wnid>/, so sort the images into "
                    "folders by class, or extract the archive again"
                )
            for path in found:
                yield Row(path.stem, SPLITS[folder], label, path.relative_to(self.root).as_posix())

    def _boxed(self, rows: list[Row], boxes: Path) -> list[Row]:
        """Join the boxes, in the pixels of the stored images."""
        annotations = read_ilsvrc_boxes(boxes, [self.root / row.image for row in rows])

        def joined(row: Row) -> Row:
            annotation = annotations.get(row.id)
            if annotation is None:
                return row
            size = stored_size(self.root / row.image) if annotation.size else (0, 0)
            first, *more = scaled(annotation, size)
            return replace(row, box=first, more_boxes=tuple(more))

        return in_parallel(joined, rows)
