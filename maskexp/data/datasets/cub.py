"""CUB-200-2011 (Wah et al., 2011): from the official folder to a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo, Download
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Box, Row
from maskexp.data.text_files import opened_text, text_of
from maskexp.files import expanded

__all__ = [
    "TABLES",
    "Bird",
    "CUBBirdsLayout",
    "CUBForeground",
    "CUBLayout",
    "class_names",
    "read_attribute_labels",
    "read_birds",
    "read_part_locations",
]


@dataclass(frozen=True, slots=True)
class CUBForeground:
    """Where the foreground of CUB's images lies.

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
            cub = expanded(cub_root)
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

    def source_paths(self) -> list[Path]:
        """Return what has to be watched for changes."""
        return [path for path in (self.segmentations, self.bounding_boxes) if path is not None]

    def masks(self, images: Iterable[str]) -> dict[str, str]:
        """Return the mask's path, relative to ``segmentations``, of each image that has one.

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
        for number, line in enumerate(text_of(path).splitlines(), start=1):
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
    found = expanded(path)
    if not found.exists():
        raise DatasetNotFoundError.explained(
            f"{title}' {argument}" if title.endswith("s") else f"{title}'s {argument}",
            str(found),
            "https://data.caltech.edu/records/65de6-vp158 (boxes), /w9d68-gec53 (segmentations)",
            f"--data.{argument}",
        )
    return found


def read_attribute_labels(root: Path, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Read ``attributes/image_attribute_labels.txt``: which attributes each image shows.

    The lines are ``image attribute present certainty time``; those of images 2275 and 9364 have a column too many,
    so that only the first three are looked at.

    Args:
        root: folder ``CUB_200_2011``.
        ids: numbers of the images.

    Returns:
        ``(len(ids), 312)``, in the order of ``ids`` and of ``attributes.txt``.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DataError: if it is damaged.
    """
    present = {(image, attribute): float(value) for image, attribute, value in _lines(root, _ATTRIBUTES, 3)}
    return _matrix(present, ids).astype(np.bool_)


def read_part_locations(root: Path, ids: Sequence[str]) -> NDArray[np.float64]:
    """Read ``parts/part_locs.txt``: where the 15 parts of each bird are.

    Returns:
        ``(len(ids), 15, 3)``: x and y in pixels of the stored image, and 1 where the part is visible (else all 0).

    Raises:
        DatasetNotFoundError: if there is no such file.
        DataError: if it is damaged.
    """
    located = list(_lines(root, _PARTS, 5))
    columns = [{(line[0], line[1]): float(line[column]) for line in located} for column in (2, 3, 4)]
    return np.stack([_matrix(column, ids) for column in columns], axis=-1)


_ATTRIBUTES = "attributes/image_attribute_labels.txt"
_PARTS = "parts/part_locs.txt"


def _lines(root: Path, name: str, columns: int) -> Iterator[list[str]]:
    """Yield the first columns of each line."""
    path = root / name
    if not path.is_file():
        raise DatasetNotFoundError.explained(f"CUB's {name}", str(path), "extract CUB_200_2011.tgz", "--data.root")
    with opened_text(path) as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if len(fields) < columns or not all(
                field.lstrip("-").replace(".", "", 1).isdecimal() for field in fields[:columns]
            ):
                raise DataError(f"{path}, line {number}: {line.strip()!r} is damaged; extract the archive again")
            yield fields[:columns]


def _matrix(values: dict[tuple[str, str], float], ids: Sequence[str]) -> NDArray[np.float64]:
    """Arrange values by image and attribute or part; all of them need a value for each image."""
    columns = sorted({column for _, column in values}, key=int)
    missing = next(((image, column) for image in ids for column in columns if (image, column) not in values), None)
    if missing is not None:
        raise DataError(f"CUB's annotations lack number {missing[1]} of image {missing[0]}; extract the archive again")
    return np.array([[values[image, column] for column in columns] for image in ids], np.float64)


KNOWN_COUNTS = {"official": {"train": (5994,), "test": (5794,)}}
"""Images of the official split; the training images are ours to hold some out of."""
TABLES = ("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")
GREY = (
    *("Brewer_Blackbird_0028_2682", "Pelagic_Cormorant_0022_23802", "Ivory_Gull_0040_49180", "Ivory_Gull_0085_49456"),
    *("Western_Gull_0002_54825", "Mallard_0130_76836", "Clark_Nutcracker_0020_85099"),
    "White_Necked_Raven_0070_102645",
)
"""Stems of the grey-level images."""
OVERLAP = "CUB's authors warn that it shares images with ImageNet: numbers of pretrained backbones are optimistic"


@dataclass(frozen=True, slots=True)
class Bird:
    """One line of CUB's tables.

    Attributes:
        id: the image's number in ``images.txt``, as text.
        image: path ``<class>/<stem>.jpg``.
        label: class, from 0.
        train: whether the image belongs to the official training split.
    """

    id: str
    image: str
    label: int
    train: bool


@dataclass(frozen=True, slots=True)
class CUBBirdsLayout(HeldOutLayout):
    """CUB's birds and their official split, on their own images or on others.

    Attributes:
        foreground: segmentations and boxes of CUB.
    """

    foreground: CUBForeground

    @property
    def mask_root(self) -> Path | None:
        """Folder of the segmentations."""
        return self.foreground.segmentations

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what CUB's segmentations are."""
        return self.foreground.kind, self.foreground.source

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the official split."""
        return KNOWN_COUNTS


@dataclass(frozen=True, slots=True)
class CUBLayout(CUBBirdsLayout):
    """CUB-200-2011 with segmentations (soft) and boxes.

    The official test split stays the test split. There is no official validation set: a share of the training images
    is held out by seed, stratified by class. There are no groups.

    Attributes:
        root: folder ``CUB_200_2011``; segmentations lie in it or beside it.
    """

    name: ClassVar[str] = "cub"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="CUB",
        title="CUB-200-2011",
        summary="200 species of birds (CUB-200-2011); no groups",
        paper="Wah et al., 2011",
        images="5994, a share held out / 5794",
        size="1.15 GB and 39 MB",
        automatic="yes",
        command="maskexp data prepare CUB data/cub",
        foreground="masks (soft), boxes",
        get="https://data.caltech.edu/records/65de6-vp158 and, for segmentations, /w9d68-gec53; then --data.root",
        licence="non-commercial research",
        downloads={
            "CUB": (
                Download(
                    "CUB_200_2011.tgz",
                    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
                    "97eceeb196236b17998738112f37df78",
                    "CUB_200_2011",
                    1150585339,
                ),
                Download(
                    "segmentations.tgz",
                    "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz?download=1",
                    "4d47ba1228eae64f2fa547c47bc65255",
                    "segmentations",
                    39272883,
                ),
            )
        },
    )
    needed: ClassVar[str] = "images.txt"
    folders: ClassVar[tuple[str, ...]] = ("CUB_200_2011",)
    listing: ClassVar[str] = "images.txt"

    @classmethod
    def find(
        cls,
        root: str | Path,
        segmentations: str | Path | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder ``CUB_200_2011``, or the folder in which it lies.
            segmentations: folder ``<class>/<stem>.png``, if not in ``root`` or beside it.
            val_fraction: share of the training images that is held out, ``round(val_fraction * n)`` of each class
                (default: the share that group_DRO and Concept Bottleneck Models hold out; the draw is ours). 0
                trains on all and validates on the test split.
            val_seed: of that draw; apart from ``seed``, so that all runs share one validation set.

        Raises:
            DatasetNotFoundError: if the root, or the segmentations that were asked for, are missing.
        """
        found = cls.locate(root)
        return cls(found, val_fraction, val_seed, CUBForeground.find(cls.info.title, found, segmentations))

    def source_paths(self) -> list[Path]:
        """Return CUB's tables, the folders of the images and the foreground."""
        return [*(self.root / name for name in TABLES), self.root / "images", *self.foreground.source_paths()]

    def rows(self) -> list[Row]:
        """Read CUB's tables.

        Raises:
            DataError: if they are damaged or disagree.
        """
        birds = read_birds(self.root)
        masks, boxes = self.foreground.masks(bird.image for bird in birds), self.foreground.boxes()
        rows = [
            Row(
                id=bird.id,
                split="train" if bird.train else "test",
                label=bird.label,
                image=f"images/{bird.image}",
                mask=masks.get(bird.image, ""),
                box=boxes.get(bird.id),
                pair_id=bird.id,
                flags="grayscale" if Path(bird.image).stem in GREY else "",
            )
            for bird in birds
        ]
        return self.held_out(rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The species, as ``classes.txt`` writes them."""
        return class_names(self.root)

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Count what is not segmented, and warn of the overlap with ImageNet."""
        without = sum(not row.mask for row in rows) if self.mask_root else 0
        missing = [f"{without} of {len(rows)} images have no segmentation"] if without else []
        return (*missing, *HeldOutLayout.notes(self, rows), OVERLAP)


def read_birds(root: Path) -> list[Bird]:
    """Read ``images.txt``, ``image_class_labels.txt`` and ``train_test_split.txt``, joined by the image's number.

    Raises:
        DataError: if a table is damaged or lacks an image.
    """
    images = _table(root / "images.txt")
    labels, trained = _table(root / "image_class_labels.txt"), _table(root / "train_test_split.txt")
    known = len(class_names(root))
    if not known:
        raise DataError(f"{root / 'classes.txt'} lists no class; extract the archive again")
    birds = []
    for identity, image in images.items():
        for name, table, allowed in (
            ("image_class_labels.txt", labels, range(1, known + 1)),
            ("train_test_split.txt", trained, range(2)),
        ):
            if identity not in table:
                raise DataError(f"{root / name} lacks image {identity}, which images.txt lists; extract it again")
            if not table[identity].isdecimal() or int(table[identity]) not in allowed:
                raise DataError(
                    f"{root / name}: image {identity} has {table[identity]!r}, out of range; it must be "
                    f"{allowed[0]} to {allowed[-1]}"
                )
        birds.append(Bird(identity, image, int(labels[identity]) - 1, trained[identity] == "1"))
    return birds


def class_names(root: Path) -> tuple[str, ...]:
    """Return the names ``001.Black_footed_Albatross`` of all classes in order.

    Raises:
        DataError: if ``classes.txt`` is damaged.
    """
    classes = _table(root / "classes.txt")
    if list(classes) != [str(number) for number in range(1, len(classes) + 1)]:
        raise DataError(f"{root / 'classes.txt'} does not number its classes 1 to {len(classes)}; extract it again")
    return tuple(classes.values())


def _table(path: Path) -> dict[str, str]:
    """Read lines ``number value`` of a table; what follows a second blank belongs to the value."""
    if not path.is_file():
        raise DataError(f"{path} is missing although images.txt is there; extract the archive again")
    table = {}
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not key.isdecimal() or not value.strip():
            raise DataError(f"{path}, line {number}: {line!r} is not 'number value'")
        table[key] = value.strip()
    return table
