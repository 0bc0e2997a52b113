"""A user's table of images: what each column means, and what must not be read wrongly without a word."""

from __future__ import annotations

import csv
import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.prepared import SPLIT_NAMES, Prepared, own_card
from maskexp.data.manifest.table import Box, ManifestTable, Row, is_tiny, read_box
from maskexp.data.text_files import opened_text
from maskexp.suggestions import did_you_mean

__all__ = ["ROLES", "listed", "prepare_csv"]

ROLES = ("image", "label", "attribute", "split", "mask", "x0", "y0", "x1", "y1", "id")
"""What a column of a user's CSV can be; the first two are required."""
ALIASES = {"split": ("subset", "set", "partition"), "mask": ("maskpath", "segmentation"), "attribute": ("attrib",)}
"""Headers that people write for an optional column, which would otherwise be left unread without a word."""
SPARSE = 100
"""How many numbers of classes may be missing beside one for each that occurs."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
CORNERS = ("x0", "y0", "x1", "y1")
NUMBERED, NAMED = ("label", "attribute"), ("label", "attribute", "split")
"""Columns whose cells may be the numbers of classes, and those with few values."""
OFFICIAL_SPLITS = ("train", "val", "test")
"""Any other name is a further split to evaluate on, unless it looks like one of these."""
HASHED_SPLITS = ((0.7, "train"), (0.85, "val"), (1.0, "test"))


@dataclass(frozen=True, slots=True)
class Naming:
    """Names that go with the numbers of one column.

    Attributes:
        names: one per number.
        given: whether the user gave them.
    """

    names: tuple[str, ...]
    given: bool

    @classmethod
    def of(cls, values: Sequence[str], given: Sequence[str] | None, role: str) -> Naming:
        """Take the names that were given; else number what is there: names in alphabetical order, or indices."""
        if given:
            return cls(tuple(given), True)
        # A negative number names nothing: it is left to `index`, which refuses it with its line.
        present = sorted({value for value in values if value and not _is_negative(value)})
        if all(value.isdecimal() for value in present):
            numbers = sorted(map(int, present))
            _require_numbered_from_0(numbers, role)
            return cls(tuple(f"{role} {index}" for index in range(max(numbers, default=-1) + 1)), False)
        return cls(tuple(present), False)

    def index(self, value: str, role: str) -> int:
        """Return the number of a name or of a number in digits.

        Raises:
            DataError: if there is no such name or number.
        """
        if value in self.names:
            return self.names.index(value)
        if value.isdecimal() and int(value) < len(self.names):
            return int(value)
        kind = "out of range" if value.isdecimal() or _is_negative(value) else "unknown"
        none = "; leave the cell empty where there is none" if role == "attribute" else ""
        raise DataError(
            f"{role} {value!r} is {kind}; there are {len(self.names)}, numbered from 0: {listed(self.names)}{none}"
        )


def prepare_csv(
    path: Path,
    root: Path | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
) -> Prepared:
    """Return the manifest of a user's CSV.

    Args:
        path: the CSV.
        root: folder to which its paths are relative; the CSV's own if not given.
        columns: names of columns that are not named like their role (:data:`ROLES`).
        classes: names of the labels; found in the column if not given.
        attributes: names of the attribute's values; found in the column if not given.

    Raises:
        DatasetNotFoundError: if the CSV is missing.
        DataError: if a column is missing, or a value cannot be understood.
    """
    if not path.is_file():
        raise DatasetNotFoundError.explained(
            "The CSV of your data", str(path), "write one line per image", "--data.csv"
        )
    numbers, cells = _read(path, columns or {})
    label = Naming.of(cells["label"], classes, "class")
    attribute = Naming.of(cells.get("attribute", ()), attributes, "attribute")
    rows = []
    for number, line in zip(numbers, zip(*cells.values(), strict=True), strict=True):
        try:
            rows.append(_row(dict(zip(cells, line, strict=True)), label, attribute))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    _require_single(rows, numbers, path, label.names)
    _require_trained(rows, numbers, path, label.names)
    notes = [] if "split" in cells else ["the CSV has no split: 70/15/15 % by a hash of the image's path"]
    occurring = {row.label for row in rows}
    if absent := [name for place, name in enumerate(label.names) if place not in occurring]:
        notes.append(f"{len(absent)} of {len(label.names)} classes have no image: {listed(absent)}")
    card = own_card(path.stem, label.names, attribute.names, any(row.mask for row in rows), tuple(notes))
    return Prepared(ManifestTable(card, rows), root or path.parent, root or path.parent)


def _read(path: Path, given: Mapping[str, str]) -> tuple[Sequence[int], dict[str, list[str]]]:
    """Return the number of each line of a CSV, and its cells by role, column by column: a million lines fit in memory.

    Raises:
        DataError: if the file is not UTF-8, is separated by something else than commas, lacks a column, or has lines of
            another length.
    """
    numbers = array("L")
    with opened_text(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(header) == 1 and (other := next((mark for mark in SEPARATORS if mark in header[0]), None)):
            raise DataError(f"{path} separates its columns by {SEPARATORS[other]}; save it with commas between them")
        if twice := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
            raise DataError(f"{path} has the column {twice[0]!r} more than once; rename all but one")
        column = _columns(path, header, given)
        places = {role: header.index(name) for role, name in column.items()}
        cells: dict[str, list[str]] = {role: [] for role in column}
        known: dict[str, str] = {}  # one copy of the names of classes, attributes and splits
        for line in reader:
            if line and len(line) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: the line has another number of cells than the header; put "
                    "quotes around a cell that holds a comma"
                )
            if not line:
                continue
            numbers.append(reader.line_num)
            for role, place in places.items():
                cell = line[place].strip()
                if role in NAMED:
                    cell = known.setdefault(cell, cell)
                cells[role].append(_plain(cell) if role in NUMBERED else cell)
    return numbers, cells


def _plain(cell: str) -> str:
    """Return a number of a class without the fraction that a spreadsheet added, e.g. ``10`` for ``10.0``."""
    whole, point, fraction = cell.partition(".")
    return whole if point and fraction and whole.isdecimal() and not fraction.strip("0") else cell


def _columns(path: Path, header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each role that has one."""
    for role in given:
        if role not in ROLES:
            raise DataError(f"columns names the role {role!r}, which does not exist{_closest(role, ROLES)}")
    column = {role: given.get(role, role) for role in ROLES}
    if "attribute" not in given and "attribute" not in header and "attr" in header:
        column["attribute"] = "attr"
    for role, name in column.items():
        if name not in header and (role in given or role in ("image", "label")):
            raise DataError(
                f"{path} has no column {name!r}{_closest(name, header)}; it has {', '.join(header) or 'none'}. "
                f"Say which one is the {role} with --data.columns.{role}"
            )
    there = {role: name for role, name in column.items() if name in header}
    for name in header:
        meant = [role for role in ROLES if name not in there.values() and role not in there and _means(name, role)]
        if meant:
            raise DataError(
                f"{path} has a column {name!r}, which is not used; did you mean {meant[0]!r}? Rename it, or give "
                f"--data.columns.{meant[0]} {name!r}"
            )
    if 0 < sum(corner in there for corner in CORNERS) < len(CORNERS):
        raise DataError(f"{path} has only some of the columns x0, y0, x1, y1 of a box")
    return there


def _row(cell: Mapping[str, str], label: Naming, attribute: Naming) -> Row:
    """Turn one line of the user's CSV into a row.

    Raises:
        DataError: if a cell cannot be understood.
    """
    image, value = cell["image"], cell.get("attribute", "")
    if not image or not cell["label"]:
        raise DataError(f"{'label' if image else 'image'} is empty")
    for role in ("image", "mask"):
        if "\\" in cell.get(role, ""):
            raise DataError(f"the path {cell[role]!r} has backslashes; write it with /")
    given = cell["split"].lower() if "split" in cell else _hashed_split(image)
    if not given:
        raise DataError("split is empty; write train, val or test")
    split = SPLIT_NAMES.get(given, given)
    if split not in OFFICIAL_SPLITS and (hint := did_you_mean(split, OFFICIAL_SPLITS, otherwise="")):
        raise DataError(f"the split {given!r} is unknown; {hint}")
    return Row(
        id=cell.get("id") or image,
        split=split,
        label=label.index(cell["label"], "label"),
        image=image,
        attribute=attribute.index(value, "attribute") if value else -1,
        mask=cell.get("mask", ""),
        box=_box([cell.get(corner, "") for corner in CORNERS]),
    )


def _box(corners: Sequence[str]) -> Box | None:
    """Return a box, None where the cells are empty."""
    try:
        box = read_box(corners)
    except ValueError as error:
        raise DataError(str(error)) from error
    if box is not None and (box[2] <= box[0] or box[3] <= box[1]):
        raise DataError(f"the box {', '.join(corners)} is empty; x0 < x1 and y0 < y1 are needed")
    if box is not None and is_tiny(box):
        raise DataError(
            f"the box {', '.join(corners)} is smaller than a pixel; its corners are pixels, not shares of the image"
        )
    return box


def _hashed_split(image: str) -> str:
    """Choose a split by a hash of the path: no seed, and adding images moves none of the others."""
    share = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8], "big") / 2**64
    return next(split for limit, split in HASHED_SPLITS if share < limit)


def _require_numbered_from_0(numbers: Sequence[int], role: str) -> None:
    """Refuse numbers that leave too much out to be the numbers of classes.

    Raises:
        DataError: if they do.
    """
    if not numbers:
        return
    if numbers[0] > 0 and numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1:
        raise DataError(
            f"the numbers of {role} go from {numbers[0]} to {numbers[-1]}, but the first is 0; subtract {numbers[0]}, "
            "or write names"
        )
    if numbers[-1] >= 2 * len(numbers) + SPARSE:
        raise DataError(
            f"the numbers of {role} go up to {numbers[-1]}, but only {len(numbers)} of them occur; number them from 0, "
            "or write names"
        )


def _require_single(rows: Sequence[Row], numbers: Sequence[int], path: Path, classes: Sequence[str]) -> None:
    """Refuse a line that says again what another one says.

    Raises:
        DataError: if there is one, with both lines and both labels.
    """
    first: dict[tuple[str, str], int] = {}
    for position, row in enumerate(rows):
        before = first.setdefault((row.split, row.id), position)
        if before != position:
            labels = dict.fromkeys(classes[rows[index].label] for index in (before, position))
            also = f", as {' and as '.join(map(repr, labels))}" if len(labels) > 1 else ""
            raise DataError(
                f"{path}, line {numbers[position]}: {row.id!r} stands in line {numbers[before]} already{also}; "
                "keep one of the two lines, or give each an id of its own"
            )


def _require_trained(rows: Sequence[Row], numbers: Sequence[int], path: Path, classes: Sequence[str]) -> None:
    """Refuse a class that is judged but never trained.

    Raises:
        DataError: if there is one.
    """
    trained = {row.label for row in rows if row.split == "train"}
    for row, number in zip(rows, numbers, strict=True):
        if trained and row.split in OFFICIAL_SPLITS and row.label not in trained:
            raise DataError(
                f"{path}, line {number}: the class {classes[row.label]!r} is in the split {row.split!r} but not in "
                "'train'; add training images, or leave its lines out"
            )


def _means(name: str, role: str) -> bool:
    """Return whether a header names a role in another spelling."""
    plain = name.strip().strip("\ufeff").lower().replace(" ", "").replace("_", "")
    return plain in (role, f"{role}s", *ALIASES.get(role, ())) or (len(role) > 3 and _one_letter_apart(plain, role))


def _one_letter_apart(word: str, other: str) -> bool:
    """Return whether one letter was left out, added, exchanged, or two were swapped."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    rest, others = word[start:], other[start:]
    swapped = rest[:2] == others[1::-1] and rest[2:] == others[2:]
    return swapped or rest[1:] == others or rest == others[1:] or rest[1:] == others[1:]


def _is_negative(value: str) -> bool:
    return value.startswith("-") and value[1:].isdecimal()


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names for a sentence, shortened."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _closest(name: str, candidates: Sequence[str]) -> str:
    """Return a hint at the most similar candidate, or nothing."""
    hint = did_you_mean(name, candidates, otherwise="")
    return f" ({hint})" if hint else ""
