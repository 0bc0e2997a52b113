"""CUB's attributes and parts: what concept models are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskexp.data.errors import DataError, DatasetNotFoundError

__all__ = ["read_attribute_labels", "read_part_locations"]


def read_attribute_labels(root: Path, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Read ``attributes/image_attribute_labels.txt``: which attributes each picture shows.

    The lines are ``image attribute present certainty time``; those of pictures 2275 and 9364 have a column too many,
    so that only the first three are looked at.

    Args:
        root: folder ``CUB_200_2011``.
        ids: numbers of the pictures.

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
        ``(len(ids), 15, 3)``: x and y in pixels of the stored picture, and 1 where the part is visible (else all 0).

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
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if len(fields) < columns or not all(
                field.lstrip("-").replace(".", "", 1).isdecimal() for field in fields[:columns]
            ):
                raise DataError(f"{path}, line {number}: {line.strip()!r} is damaged; extract the archive again")
            yield fields[:columns]


def _matrix(values: dict[tuple[str, str], float], ids: Sequence[str]) -> NDArray[np.float64]:
    """Arrange values by picture and attribute or part; all of them need a value for each picture."""
    columns = sorted({column for _, column in values}, key=int)
    missing = next(((image, column) for image in ids for column in columns if (image, column) not in values), None)
    if missing is not None:
        raise DataError(
            f"CUB's annotations lack number {missing[1]} of picture {missing[0]}; extract the archive again"
        )
    return np.array([[values[image, column] for column in columns] for image in ids], np.float64)
