"""A user's own images: a CSV file, an image folder, or a prepared manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.shared.csv_table import listed, prepare_csv
from maskexp.data.datasets.shared.files import image_files, is_image_file, subfolders
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.layout import DataSource
from maskexp.data.manifest.prepared import SPLIT_NAMES, Prepared, own_card
from maskexp.data.manifest.table import ManifestTable, Row
from maskexp.files import expanded

__all__ = ["CustomData", "prepare_folder"]


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
    if mask_root is not None and not any(row.mask for row in rows):
        raise DataError(
            f"no file in {mask_root} belongs to an image; the mask of {rows[0].image} would be "
            f"{mask_root / Path(rows[0].image).with_suffix('.png')}"
        )
    further = [name for name in names if name not in splits and root / name != mask_root]
    notes = _left_out(folder for _, folder in folders)
    if empty := [str(folder.relative_to(root)) for (_, folder), found in images.items() if not found]:
        notes = (*notes, f"{len(empty)} folders of classes hold no images and were left out: {listed(empty)}")
    if mask_root is not None and (idle := _without_image(mask_root, {row.mask for row in rows})):
        notes = (*notes, f"{len(idle)} files in {mask_root.name} belong to no image: {listed(idle)}")
    if further:
        notes = (*notes, f"{len(further)} folders are no train, val or test and were left out: {listed(further)}")
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


def _without_image(mask_root: Path, used: set[str]) -> list[str]:
    """Return the files below the masks' folder that are no image's mask."""
    files = (path.relative_to(mask_root).as_posix() for path in mask_root.rglob("*") if path.is_file())
    return sorted(name for name in files if name not in used and not Path(name).name.startswith("."))


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


def _refuse(wishes: Mapping[str, object], why: str) -> None:
    """Refuse arguments that nothing would obey.

    Raises:
        DataError: if one was given.
    """
    if given := [name for name, value in wishes.items() if value]:
        raise DataError(f"{', '.join(given)} cannot be given here: {why}; omit it")
