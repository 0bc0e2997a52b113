"""The manifest: one table of rows and one card, to which every data set is brought.

A prepared data set is a folder with ``manifest.csv`` (one row per image and split) and ``dataset.json`` (names, counts,
licence, origin). Nothing in the framework beyond the builders knows how an official download is laid out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.text_files import opened_text, text_of
from maskexp.files import atomic_write, write_json

__all__ = ["COLUMNS", "Card", "ManifestTable", "Row", "is_tiny", "pixels_of", "read_box"]

SCHEMA_VERSION = 1
COLUMNS = (
    *("id", "image", "split", "label", "attr", "group", "mask", "x0", "y0", "x1", "y1"),
    *("more_boxes", "width", "height", "source", "pair_id", "env", "flags"),
)
"""Columns of ``manifest.csv``; ``attr`` is the attribute."""
REQUIRED = ("id", "image", "split", "label")
FARTHEST = 1e6
"""A corner beyond it is none: no image has as many pixels in a row."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One image in one split.

    Attributes:
        id: stable name, unique in its split.
        split: ``train``, ``val``, ``test`` or any further evaluation split.
        label: index into the card's ``classes``.
        image: path relative to the data set's root; empty where pixels are made in memory.
        attribute: index into the card's ``attributes``, -1 where there is none.
        mask: path of the segmentation, empty where there is none.
        box: bounding box (x0, y0, x1, y1), pixels, half-open.
        width: pixels of the stored image, 0 where unknown.
        height: pixels of the stored image, 0 where unknown.
        source: file of the background or another origin.
        pair_id: images that share a bird (or another object) share it.
        env: domain.
        flags: words separated by blanks, e.g. ``mislabeled``.
        more_boxes: further boxes; the foreground is the union of all.
    """

    id: str
    split: str
    label: int
    image: str = ""
    attribute: int = -1
    mask: str = ""
    box: Box | None = None
    width: int = 0
    height: int = 0
    source: str = ""
    pair_id: str = ""
    env: str = ""
    flags: str = ""
    more_boxes: tuple[Box, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All boxes."""
        return self.more_boxes if self.box is None else (self.box, *self.more_boxes)


@dataclass(frozen=True, slots=True)
class Card:
    """What is true of the data set as a whole.

    Attributes:
        name: data set, e.g. ``waterbirds``.
        variant: release or recipe, or ``custom``.
        classes: one name per label.
        attributes: one name per value of the spurious factor; empty where there is none.
        mask_kind: ``soft``, ``binary`` or ``none``.
        mask_source: where the masks come from, e.g. ``cub_seg``.
        licence: in words.
        notes: sentences that every output has to carry.
        builder: what made the table (name, version, arguments), plain types.
    """

    name: str
    variant: str
    classes: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    mask_kind: str = "none"
    mask_source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()
    builder: dict[str, Any] = field(default_factory=dict)

    @property
    def group_names(self) -> tuple[str, ...]:
        """One name per group, in the order ``label * len(attributes) + attribute``."""
        return tuple(f"{label}/{attribute}" for label in self.classes for attribute in self.attributes)


class ManifestTable:
    """Rows and card of one data set, checked against each other.

    Args:
        card: names and origin.
        rows: at least one row; sorted by (split, id) on construction.

    Raises:
        DataError: if an id occurs twice in a split, or a label or attribute is out of range.
    """

    def __init__(self, card: Card, rows: Iterable[Row]) -> None:
        self.card = card
        self.rows = sorted(rows, key=lambda row: (row.split, row.id))
        if not self.rows:
            raise DataError(f"the manifest of {card.name} has no rows")
        for what, names in (("class", card.classes), ("attribute", card.attributes), ("group", card.group_names)):
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise DataError(f"{card.name} has two of the {what} {twice[0]!r}; rename a class or an attribute")
        for row, following in pairwise(self.rows):
            if (row.split, row.id) == (following.split, following.id):
                raise DataError(f"id {row.id!r} occurs twice in split {row.split!r} of {card.name}; ids must be unique")
        for row in self.rows:
            _check_row(row, card)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({row.split for row in self.rows}))

    def split(self, name: str) -> list[Row]:
        """Return the rows of one split in the order of their ids.

        Raises:
            DataError: if no row belongs to that split.
        """
        rows = [row for row in self.rows if row.split == name]
        if not rows:
            raise DataError(f"{self.card.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return rows

    def group_of(self, row: Row) -> int:
        """Return ``label * len(attributes) + attribute``, or -1 where the row has no attribute."""
        return -1 if row.attribute < 0 else row.label * len(self.card.attributes) + row.attribute

    def counts(self, split: str) -> tuple[int, ...]:
        """Return the number of rows per group, or per class where the data has no attribute."""
        grouped = bool(self.card.attributes)
        counts = [0] * (len(self.card.group_names) if grouped else len(self.card.classes))
        for row in self.split(split):
            position = self.group_of(row) if grouped else row.label
            if position >= 0:
                counts[position] += 1
        return tuple(counts)

    @cached_property
    def digest(self) -> str:
        """sha256 over rows and card: the same on every machine, whatever the paths of the data are."""
        card = json.dumps(asdict(self.card), sort_keys=True)
        return hashlib.sha256((card + "\n" + self.to_csv()).encode()).hexdigest()

    def to_csv(self) -> str:
        """Return the rows as CSV text with the columns :data:`COLUMNS`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            writer.writerow(self._cells(row))
        return text.getvalue()

    def _cells(self, row: Row) -> tuple[Any, ...]:
        attribute, group = ("", "") if row.attribute < 0 else (row.attribute, self.group_of(row))
        box = row.box or ("", "", "", "")
        more = " ".join(str(corner) for further in row.more_boxes for corner in further)
        size = (row.width or "", row.height or "")
        texts = (row.source, row.pair_id, row.env, row.flags)
        return (row.id, row.image, row.split, row.label, attribute, group, row.mask, *box, more, *size, *texts)

    def write(self, folder: Path) -> None:
        """Write ``manifest.csv`` and ``dataset.json`` into ``folder``, each whole or not at all."""
        with atomic_write(folder / "manifest.csv") as partial:
            partial.write_text(self.to_csv(), encoding="utf-8")
        description = {
            "schema_version": SCHEMA_VERSION,
            **asdict(self.card),
            "group_names": self.card.group_names,
            "counts": {split: self.counts(split) for split in self.splits},
            "manifest_sha256": self.digest,
        }
        write_json(folder / "dataset.json", description)

    @classmethod
    def read(cls, folder: Path) -> ManifestTable:
        """Read a folder that :meth:`write` wrote, or that follows the same schema.

        Raises:
            DatasetNotFoundError: if one of the two files is missing.
            DataError: if a file breaks the schema or the two disagree.
        """
        for name in ("manifest.csv", "dataset.json"):
            if not (folder / name).is_file():
                raise DatasetNotFoundError.explained(
                    "A prepared data set", str(folder / name), "prepare it again", "--data.root"
                )
        description = _description(folder / "dataset.json")
        names = Card.__dataclass_fields__
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in description.items()
            if key in names
        }
        if missing := [name for name in ("name", "variant", "classes") if name not in known]:
            raise DataError(f"{folder / 'dataset.json'} lacks the key {missing[0]!r}")
        card = Card(**known)
        table = cls(card, _rows(folder / "manifest.csv", len(card.attributes)))
        if description.get("manifest_sha256", table.digest) != table.digest:
            raise DataError(f"{folder / 'manifest.csv'} was changed after dataset.json was written; prepare it again")
        for split, stated in description.get("counts", {}).items():
            found = list(table.counts(split)) if split in table.splits else []
            if found != list(stated):
                raise DataError(
                    f"{folder / 'manifest.csv'} has {found} images in split {split!r}, but dataset.json says "
                    f"{stated}; prepare it again"
                )
        return table


def read_box(corners: Sequence[str]) -> Box | None:
    """Return the box of four cells x0, y0, x1, y1, None where all are empty.

    Raises:
        ValueError: if they are not four numbers that can be pixels.
    """
    if not any(corners):
        return None
    try:
        if any("_" in corner for corner in corners):  # 1_0 is a number to Python alone
            raise ValueError
        x0, y0, x1, y1 = (float(corner) for corner in corners)
    except ValueError as error:
        raise ValueError(f"the box {', '.join(corners)} is not made of four numbers") from error
    _require_finite((x0, y0, x1, y1))
    return x0, y0, x1, y1


def is_tiny(box: Box) -> bool:
    """Return whether a box is smaller than a pixel, or lies in the first pixel, as shares of an image do."""
    x0, y0, x1, y1 = box
    return max(x1, y1) <= 1 or x1 - x0 < 1 or y1 - y0 < 1


def pixels_of(box: Box) -> tuple[int, int, int, int]:
    """Return the pixels that a box covers, half-open, none of them above or left of the image."""
    x0, y0, x1, y1 = (max(round(corner), 0) for corner in box)
    return x0, y0, x1, y1


def _require_finite(box: Box) -> None:
    if not all(abs(corner) <= FARTHEST for corner in box):  # NaN is never
        corners = ", ".join(f"{corner:g}" for corner in box)
        raise ValueError(f"the box {corners} has corners that are no pixels; leave all four empty where there is none")


def _check_row(row: Row, card: Card) -> None:
    """Raise DataError if a label or attribute has no name on the card, a name is not UTF-8, or a box not finite."""
    for text in (row.id, row.image, row.mask):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            shown = text.encode("utf-8", "backslashreplace").decode()
            raise DataError(f"the file name '{shown}' (split {row.split!r}) is not UTF-8; rename the file")
    try:
        for box in row.boxes:
            _require_finite(box)
    except ValueError as error:
        raise DataError(f"{row.id!r} (split {row.split!r}): {error}") from error
    if not 0 <= row.label < len(card.classes):
        raise DataError(
            f"label {row.label} of {row.id!r} (split {row.split!r}) is out of range: {card.name} has "
            f"{len(card.classes)} classes, numbered from 0"
        )
    if not -1 <= row.attribute < len(card.attributes):
        raise DataError(
            f"attribute {row.attribute} of {row.id!r} (split {row.split!r}) is out of range: {card.name} has "
            f"{len(card.attributes)} attributes, numbered from 0"
        )


def _description(path: Path) -> dict[str, Any]:
    """Read dataset.json and check its version."""
    try:
        description: dict[str, Any] = json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema_version {version}, this version reads {SCHEMA_VERSION}")
    return description


def _rows(path: Path, num_attributes: int) -> list[Row]:
    """Read manifest.csv."""
    with opened_text(path) as file:
        reader = csv.DictReader(file)
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]!r}; it has {', '.join(reader.fieldnames or ())}")
        return [_row(cells, f"{path}, line {reader.line_num}", num_attributes) for cells in reader]


def _row(cells: Mapping[str, str], where: str, num_attributes: int) -> Row:
    """Turn one line of manifest.csv into a row."""
    corners = [cells.get(name) or "" for name in ("x0", "y0", "x1", "y1")]
    try:
        attribute = int(cells.get("attr") or -1)
        row = Row(
            id=cells["id"],
            split=cells["split"],
            label=int(cells["label"]),
            image=cells["image"],
            attribute=attribute,
            mask=cells.get("mask") or "",
            box=read_box(corners),
            more_boxes=_boxes(cells.get("more_boxes") or ""),
            width=int(cells.get("width") or 0),
            height=int(cells.get("height") or 0),
            **{name: cells.get(name) or "" for name in ("source", "pair_id", "env", "flags")},
        )
        group = int(cells.get("group") or -1)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    except TypeError as error:  # the csv module gives None for cells that are not there
        raise DataError(f"{where}: the line has fewer cells than the header has columns") from error
    if group >= 0 and group != row.label * num_attributes + attribute:
        raise DataError(f"{where}: group {group} is not label {row.label} * {num_attributes} + attribute {attribute}")
    return row


def _boxes(text: str) -> tuple[Box, ...]:
    """Return the boxes of a cell that lists their corners one after the other; ValueError if they do not add up."""
    numbers = text.split()
    if len(numbers) % 4:
        raise ValueError(f"more_boxes lists {len(numbers)} numbers; a box has four")
    return tuple(box for i in range(0, len(numbers), 4) if (box := read_box(numbers[i : i + 4])) is not None)
