"""A user's own images: a CSV file, an image folder, or a prepared manifest."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.shared.files import image_files, subfolders
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.layout import DataSource
from maskexp.data.manifest.prepared import SPLIT_NAMES, Prepared, own_card
from maskexp.data.manifest.table import Box, ManifestTable, Row
from maskexp.data.text_files import opened_text
from maskexp.suggestions import did_you_mean

__all__ = ["ROLES", "CustomData", "prepare_csv", "prepare_folder"]

ROLES = ("image", "label", "attribute", "split", "mask", "x0", "y0", "x1", "y1", "id")
"""What a column of a user's CSV can be; the first two are required."""
CORNERS = ("x0", "y0", "x1", "y1")
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
            return cls(tuple(f"{role} {index}" for index in range(max(map(int, present), default=-1) + 1)), False)
        return cls(tuple(present), False)

    def index(self, value: str, role: str, where: str) -> int:
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
            f"{where}: {role} {value!r} is {kind}; there are {len(self.names)}, numbered from 0: "
            f"{_listed(self.names)}{none}"
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
        DataError: if a column is missing, a value cannot be understood, or a file is missing.
    """
    if not path.is_file():
        raise DatasetNotFoundError.explained(
            "The CSV of your data", str(path), "write one line per image", "--data.csv"
        )
    lines, header = _read(path)
    column = _columns(path, header, columns or {})
    cells = [{role: (line[name] or "").strip() for role, name in column.items()} for line in lines]
    label = Naming.of([cell["label"] for cell in cells], classes, "class")
    attribute = Naming.of([cell.get("attribute", "") for cell in cells], attributes, "attribute")
    rows = [_row(cell, f"{path}, line {number}", label, attribute) for number, cell in enumerate(cells, start=2)]
    notes = () if "split" in column else ("the CSV has no split: 70/15/15 % by a hash of the image's path",)
    card = own_card(path.stem, label.names, attribute.names, any(row.mask for row in rows), notes)
    return _existing(Prepared(ManifestTable(card, rows), root or path.parent, root or path.parent), str(path))


def _read(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the lines and the header of a CSV."""
    with opened_text(path) as file:
        reader = csv.DictReader(file)
        lines = list(reader)
        return lines, list(reader.fieldnames or ())


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
    if 0 < sum(corner in there for corner in CORNERS) < len(CORNERS):
        raise DataError(f"{path} has only some of the columns x0, y0, x1, y1 of a box")
    return there


def _row(cell: Mapping[str, str], where: str, label: Naming, attribute: Naming) -> Row:
    """Turn one line of the user's CSV into a row."""
    image, value = cell["image"], cell.get("attribute", "")
    if not image or not cell["label"]:
        raise DataError(f"{where}: {'label' if image else 'image'} is empty")
    split = cell.get("split", _hashed_split(image)).lower()
    if not split:
        raise DataError(f"{where}: split is empty; write train, val or test")
    return Row(
        id=cell.get("id") or image,
        split=SPLIT_NAMES.get(split, split),
        label=label.index(cell["label"], "label", where),
        image=image,
        attribute=attribute.index(value, "attribute", where) if value else -1,
        mask=cell.get("mask", ""),
        box=_box([cell.get(corner, "") for corner in CORNERS], where),
    )


def _box(corners: Sequence[str], where: str) -> Box | None:
    """Return a box, None where the cells are empty."""
    if not any(corners):
        return None
    try:
        x0, y0, x1, y1 = (float(corner) for corner in corners)
    except ValueError as error:
        raise DataError(f"{where}: the box {', '.join(corners)} is not made of four numbers") from error
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{where}: the box {', '.join(corners)} is empty; x0 < x1 and y0 < y1 are needed")
    return x0, y0, x1, y1


def _hashed_split(image: str) -> str:
    """Choose a split by a hash of the path: no seed, and adding images moves none of the others."""
    share = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8], "big") / 2**64
    return next(split for limit, split in HASHED_SPLITS if share < limit)


def _existing(prepared: Prepared, listed_in: str) -> Prepared:
    """Make sure that all files exist."""
    folder_of = {"image": prepared.root, "mask": prepared.mask_root or prepared.root}
    for row in prepared.table.rows:
        for role, name in (("image", row.image), ("mask", row.mask)):
            if name and not (folder_of[role] / name).is_file():
                raise DataError(
                    f"the {role} {folder_of[role] / name}, listed in {listed_in}, does not exist; paths are relative "
                    f"to {folder_of[role]}, set by --data.root"
                )
    return prepared


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
    names = {folder.name: SPLIT_NAMES.get(folder.name, folder.name) for folder in subfolders(root)}
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
    classes = sorted({folder.name for name in splits for folder in subfolders(root / name)})
    if "train" in splits.values():
        trained = {
            folder.name for name, split in splits.items() if split == "train" for folder in subfolders(root / name)
        }
        if unknown := [name for name in classes if name not in trained]:
            raise DataError(f"class {unknown[0]!r} occurs in {root} but not in its training split; rename its folder")
    rows = [
        Row(
            id=path.relative_to(root / name).as_posix(),
            split=split,
            label=classes.index(path.parent.name),
            image=path.relative_to(root).as_posix(),
            mask=_mask_of(path.relative_to(root), mask_root),
        )
        for name, split in splits.items()
        for folder in subfolders(root / name)
        for path in image_files(folder)
    ]
    card = own_card(root.resolve().name, tuple(classes), (), any(row.mask for row in rows), ())
    return Prepared(ManifestTable(card, rows), root, mask_root)


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
    - ``root`` alone: ``manifest.csv`` (yours, or prepared with a ``dataset.json``) if it is there, else
      ``root/{train,val,test}/<class>/*``, with masks in ``root/masks/{train,val,test}/<class>/<stem>.png``.

    Attributes:
        prepared: manifest and folders.
    """

    prepared: Prepared

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
        folder, mask_folder = (None if path is None else Path(path).expanduser() for path in (root, masks))
        if csv is not None:
            return cls(prepare_csv(Path(csv).expanduser(), folder, columns, classes, attributes))
        if folder is None:
            raise DataError("Manifest needs --data.root (a folder) or --data.csv (a file)")
        if (folder / "dataset.json").is_file():
            return cls(Prepared(ManifestTable.read(folder), folder, mask_folder or folder))
        if (folder / "manifest.csv").is_file():
            return cls(prepare_csv(folder / "manifest.csv", folder, columns, classes, attributes))
        return cls(prepare_folder(folder, mask_folder))

    def prepare(self, cache_dir: str | Path | None = None) -> Prepared:
        """Return manifest and folders; nothing is kept in the cache."""
        return self.prepared

    def prepare_unverified(self) -> Prepared:
        """Return manifest and folders."""
        return self.prepared
