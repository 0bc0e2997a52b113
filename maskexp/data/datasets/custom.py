"""A user's own images: a CSV file, an image folder, or a prepared manifest."""

from __future__ import annotations

import csv
import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.shared.files import image_files, is_image_file, subfolders
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.layout import DataSource
from maskexp.data.manifest.prepared import SPLIT_NAMES, Prepared, own_card
from maskexp.data.manifest.table import Box, ManifestTable, Row, is_tiny, read_box
from maskexp.data.text_files import opened_text
from maskexp.files import expanded
from maskexp.suggestions import did_you_mean

__all__ = ["ROLES", "CustomData", "prepare_csv", "prepare_folder"]

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
            f"{role} {value!r} is {kind}; there are {len(self.names)}, numbered from 0: {_listed(self.names)}{none}"
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
        notes.append(f"{len(absent)} of {len(label.names)} classes have no image: {_listed(absent)}")
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


def _require_files(prepared: Prepared, listed_in: Path) -> None:
    """Make sure that all files exist.

    Raises:
        DataError: if one does not.
    """
    folder_of = {"image": prepared.root, "mask": prepared.mask_root or prepared.root}
    for row in prepared.table.rows:
        for role, name in (("image", row.image), ("mask", row.mask)):
            if name and not (folder_of[role] / name).is_file():
                raise DataError(
                    f"the {role} {folder_of[role] / name}, listed in {listed_in}, does not exist; paths are relative "
                    f"to {folder_of[role]}, set by --data.root"
                )


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


def _listed(names: Sequence[str], most: int = 8) -> str:
    """Return names for a sentence, shortened."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _closest(name: str, candidates: Sequence[str]) -> str:
    """Return a hint at the most similar candidate, or nothing."""
    hint = did_you_mean(name, candidates, otherwise="")
    return f" ({hint})" if hint else ""


def prepare_folder(root: Path, masks: Path | None = None) -> Prepared:
    """Return the manifest of an image folder ``root/{train,val,test}/<class>/*``.

    Args:
        root: the folder.
        masks: folder of the same structure with ``<stem>.png`` per image; ``root/masks`` if that exists.

    Raises:
        DatasetNotFoundError: if a folder is missing.
        DataError: if there are no images, or a split has a class that training lacks.
    """
    lower = {folder.name: folder.name.lower() for folder in subfolders(root)}
    names = {name: SPLIT_NAMES.get(plain, plain) for name, plain in lower.items()}
    splits = {name: split for name, split in names.items() if split in ("train", "val", "test")}
    if not splits:
        raise DatasetNotFoundError.explained(
            "Your data",
            f"{root}/train/<class>/ and {root}/manifest.csv",
            "sort the images, or write a CSV",
            "--data.root",
        )
    if masks is not None and not masks.is_dir():
        raise DatasetNotFoundError.explained("The masks of your data", str(masks), "draw them", "--data.masks")
    mask_root = masks or (root / "masks" if (root / "masks").is_dir() else None)
    images = {(name, folder): image_files(folder) for name in splits for folder in subfolders(root / name)}
    folders = [place for place, found in images.items() if found]
    classes = sorted({folder.name for _, folder in folders})
    if "train" in splits.values():
        trained = {folder.name for name, folder in folders if splits[name] == "train"}
        if unknown := [name for name in classes if name not in trained]:
            raise DataError(f"class {unknown[0]!r} occurs in {root} but not in its training split; rename its folder")
    rows = [
        Row(
            id=path.relative_to(root / name).as_posix(),
            split=splits[name],
            label=classes.index(path.parent.name),
            image=path.relative_to(root).as_posix(),
            mask=_mask_of(path.relative_to(root), mask_root),
        )
        for name, folder in folders
        for path in images[name, folder]
    ]
    if not rows:
        raise DataError(f"{root} has folders of classes, but no images in them; it needs e.g. train/<class>/<name>.jpg")
    if masks is not None and not any(row.mask for row in rows):
        raise DataError(
            f"no file in {masks} belongs to an image; the mask of {rows[0].image} would be "
            f"{masks / Path(rows[0].image).with_suffix('.png')}"
        )
    further = [name for name in names if name not in splits and root / name != mask_root]
    notes = _left_out(folder for _, folder in folders)
    if empty := [str(folder.relative_to(root)) for (_, folder), found in images.items() if not found]:
        notes = (*notes, f"{len(empty)} folders of classes hold no images and were left out: {_listed(empty)}")
    if further:
        notes = (*notes, f"{len(further)} folders are no train, val or test and were left out: {_listed(further)}")
    card = own_card(root.resolve().name, tuple(classes), (), any(row.mask for row in rows), notes)
    return Prepared(ManifestTable(card, rows), root, mask_root)


def _left_out(folders: Iterable[Path]) -> tuple[str, ...]:
    """Say what lies in the folders of classes and is no image."""
    other = [path for folder in folders for path in sorted(folder.iterdir()) if not is_image_file(path)]
    notes = []
    for what, found in (
        ("sub-folders of classes", [path for path in other if path.is_dir()]),
        ("files that are no images by their names", [path for path in other if not path.is_dir()]),
    ):
        if found:
            notes.append(f"{len(found)} {what} were left out, e.g. {found[0]}")
    return tuple(notes)


def _mask_of(image: Path, masks: Path | None) -> str:
    """Return the path of an image's mask relative to ``masks``, empty where there is none."""
    mask = image.with_suffix(".png")
    return mask.as_posix() if masks is not None and (masks / mask).is_file() else ""


@dataclass(frozen=True, slots=True)
class CustomData(DataSource):
    """Your own images: a CSV, an image folder, or a prepared manifest.

    - ``csv``: one line per image. Columns ``image`` (path), ``label`` (name or index), and if you have them
      ``attribute`` (name or index of the spurious factor), ``split`` (train, val, test), ``mask`` (path),
      ``x0 y0 x1 y1`` (box in pixels, half-open), ``id``. Without ``split``, 70/15/15 % by a hash of the path.
      Masks and boxes belong to the upright image: EXIF orientation is applied to images, and ``maskexp data check``
      lists those that it turns. A mask is black and white, 0/1, soft grey, one colour on black, an alpha channel, or a
      ``.npy`` array.
    - ``root`` alone: ``manifest.csv`` (yours, or prepared with a ``dataset.json``) if it is there, else
      ``root/{train,val,test}/<class>/*``, with masks in ``root/masks/{train,val,test}/<class>/<stem>.png``.

    Attributes:
        prepared: manifest and folders.
        table: the CSV whose files :meth:`prepare` looks for, None where a folder was listed.
    """

    prepared: Prepared
    table: Path | None = None

    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="Manifest",
        title="Your own data",
        summary="your own images: a CSV, or a folder {train,val,test}/<class>/",
        paper="yours",
        images="yours",
        size="none",
        automatic="manual",
        command="maskexp fit --model AIM --data Manifest --data.csv birds.csv",
        foreground="masks, boxes or none",
        get="--data.csv or --data.root",
        licence="yours",
    )

    @classmethod
    def find(
        cls,
        root: str | None = None,
        csv: str | None = None,
        masks: str | None = None,
        columns: dict[str, str] | None = None,
        classes: list[str] | None = None,
        attributes: list[str] | None = None,
    ) -> Self:
        """Read the table or list the folder.

        Args:
            root: folder of the images; paths in ``csv`` are relative to it (to the CSV's own folder if not given).
            csv: CSV file with the columns image, label and, if you have them, attribute, split, mask, x0, y0, x1, y1.
            masks: folder of the masks of an image folder.
            columns: names of columns that are called otherwise, by role, e.g. label: species.
            classes: names of the labels in order; found in the data if not given.
            attributes: names of the attribute's values in order; found in the data if not given.

        Raises:
            DatasetNotFoundError: if folder or CSV are missing.
            DataError: if they cannot be understood.
        """
        folder, mask_folder = (None if path is None else expanded(path) for path in (root, masks))
        names = {"columns": columns, "classes": classes, "attributes": attributes}
        if csv is not None:
            if masks is not None:
                raise DataError(
                    "masks is the folder of the masks of an image folder; a CSV names each mask in its column 'mask' "
                    "(or give --data.columns.mask)"
                )
            return cls(prepare_csv(expanded(csv), folder, columns, classes, attributes), expanded(csv))
        if folder is None:
            raise DataError("Manifest needs --data.root (a folder) or --data.csv (a file)")
        if (folder / "dataset.json").is_file():
            _refuse(names, f"{folder} is a prepared manifest, whose dataset.json says them")
            return cls(Prepared(ManifestTable.read(folder), folder, mask_folder or folder))
        if (folder / "manifest.csv").is_file():
            if masks is not None:
                raise DataError(f"masks is given, but {folder / 'manifest.csv'} names each mask in its column 'mask'")
            table = folder / "manifest.csv"
            return cls(prepare_csv(table, folder, columns, classes, attributes), table)
        _refuse(names, f"{folder} is an image folder, whose sub-folders name the classes")
        return cls(prepare_folder(folder, mask_folder))

    def prepare(self, cache_dir: str | Path | None = None) -> Prepared:
        """Return manifest and folders; nothing is kept in the cache.

        Raises:
            DataError: if a file that a CSV lists does not exist.
        """
        if self.table is not None:
            _require_files(self.prepared, self.table)
        return self.prepared

    def prepare_unverified(self) -> Prepared:
        """Return manifest and folders."""
        return self.prepared


def _refuse(wishes: Mapping[str, object], why: str) -> None:
    """Refuse arguments that nothing would obey.

    Raises:
        DataError: if one was given.
    """
    if given := [name for name, value in wishes.items() if value]:
        raise DataError(f"{', '.join(given)} cannot be given here: {why}; omit it")
