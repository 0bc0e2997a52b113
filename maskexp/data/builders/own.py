"""A user's own data: a CSV file, an image folder, or a prepared manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskexp.data.builders.own_csv import prepare_csv
from maskexp.data.builders.own_folder import prepare_folder
from maskexp.data.errors import DataError
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import ManifestTable

__all__ = ["prepare_own"]


def prepare_own(
    root: str | Path | None = None,
    csv: str | Path | None = None,
    masks: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
) -> Prepared:
    """Return the manifest of a user's own data; the arguments are those of :class:`~maskexp.data.Manifest`.

    Raises:
        DatasetNotFoundError: if folder or CSV are missing.
        DataError: if they cannot be understood.
    """
    folder, mask_folder = (None if path is None else Path(path).expanduser() for path in (root, masks))
    if csv is not None:
        return prepare_csv(Path(csv).expanduser(), folder, columns, classes, attributes)
    if folder is None:
        raise DataError("Manifest needs --data.root (a folder) or --data.csv (a file)")
    if (folder / "dataset.json").is_file():
        return Prepared(ManifestTable.read(folder), folder, mask_folder or folder)
    if (folder / "manifest.csv").is_file():
        return prepare_csv(folder / "manifest.csv", folder, columns, classes, attributes)
    return prepare_folder(folder, mask_folder)
