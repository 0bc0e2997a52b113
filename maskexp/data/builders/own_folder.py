"""A user's own data from an image folder."""

from __future__ import annotations

from pathlib import Path

from maskexp.data.builders.folders import pictures, subfolders
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.prepared import SPLIT_NAMES, Prepared, own_card
from maskexp.data.manifest.table import ManifestTable, Row

__all__ = ["prepare_folder"]


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
        for path in pictures(folder)
    ]
    card = own_card(root.resolve().name, tuple(classes), (), any(row.mask for row in rows), ())
    return Prepared(ManifestTable(card, rows), root, mask_root)


def _mask_of(image: Path, masks: Path | None) -> str:
    """Return the path of an image's mask relative to ``masks``, empty where there is none."""
    mask = image.with_suffix(".png")
    return mask.as_posix() if masks is not None and (masks / mask).is_file() else ""
