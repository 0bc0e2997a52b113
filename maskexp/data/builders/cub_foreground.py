"""Segmentations and boxes of CUB-200-2011, which WaterBirds and TravelingBirds share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.table import Box

__all__ = ["CUBForeground"]


@dataclass(frozen=True, slots=True)
class CUBForeground:
    """Where the foreground of CUB's pictures lies.

    Attributes:
        segmentations: folder ``<class>/<stem>.png``, or None.
        bounding_boxes: CUB's ``bounding_boxes.txt``, or None.
    """

    segmentations: Path | None = None
    bounding_boxes: Path | None = None

    @classmethod
    def find(
        cls,
        title: str,
        cub_root: str | Path | None = None,
        segmentations: str | Path | None = None,
        bounding_boxes: str | Path | None = None,
    ) -> Self:
        """Look segmentations and boxes up.

        Args:
            title: the data set that wants them, for messages.
            cub_root: CUB-200-2011, whose ``segmentations`` (in it or beside it, as its archive extracts) and
                ``bounding_boxes.txt`` are taken.
            segmentations: folder of segmentations; goes before ``cub_root``.
            bounding_boxes: file of boxes; goes before ``cub_root``.

        Raises:
            DatasetNotFoundError: if something that was asked for is missing.
        """
        masks = _wanted(segmentations, title, "segmentations")
        boxes = _wanted(bounding_boxes, title, "bounding_boxes")
        if cub_root is not None:
            cub = Path(cub_root).expanduser()
            places = [cub / "segmentations", cub.parent / "segmentations", cub / "bounding_boxes.txt"]
            masks = masks or next((place for place in places[:2] if place.is_dir()), None)
            boxes = boxes or next((place for place in places[2:] if place.is_file()), None)
            if masks is None and boxes is None:
                raise DatasetNotFoundError.explained(
                    "CUB's foreground",
                    " and ".join(map(str, places)),
                    "https://data.caltech.edu/records/w9d68-gec53 (segmentations.tgz)",
                    "--data.cub_root",
                )
        return cls(masks, boxes)

    @property
    def kind(self) -> str:
        """What a card calls the masks."""
        return "none" if self.segmentations is None else "soft"

    @property
    def source(self) -> str:
        """What a card calls the foreground's origin."""
        return "segmentations" if self.segmentations else "bounding_boxes" if self.bounding_boxes else ""

    def watched(self) -> list[Path]:
        """Return what has to be watched for changes."""
        return [path for path in (self.segmentations, self.bounding_boxes) if path is not None]

    def masks(self, images: Iterable[str]) -> dict[str, str]:
        """Return the mask's path, relative to ``segmentations``, of each picture that has one.

        Args:
            images: paths ``<class>/<stem>.jpg``.
        """
        if self.segmentations is None:
            return {}
        folder = self.segmentations
        there = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.png")}
        wanted = {image: Path(image).with_suffix(".png").as_posix() for image in images}
        return {image: mask for image, mask in wanted.items() if mask in there}

    def boxes(self) -> dict[str, Box]:
        """Read the boxes ``id x y width height`` as half-open corners, by the id of the image.

        Raises:
            DataError: if a line is otherwise.
        """
        boxes: dict[str, Box] = {}
        path = self.bounding_boxes
        if path is None:
            return boxes
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                identity, x, y, width, height = line.split()
                boxes[identity] = (float(x), float(y), float(x) + float(width), float(y) + float(height))
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {line!r} is not 'id x y width height'") from error
        return boxes


def _wanted(path: str | Path | None, title: str, argument: str) -> Path | None:
    """Return a path that was asked for, if it was, and make sure that it exists."""
    if path is None:
        return None
    found = Path(path).expanduser()
    if not found.exists():
        raise DatasetNotFoundError.explained(
            f"{title}' {argument}" if title.endswith("s") else f"{title}'s {argument}",
            str(found),
            "https://data.caltech.edu/records/65de6-vp158 (boxes), /w9d68-gec53 (segmentations)",
            f"--data.{argument}",
        )
    return found
