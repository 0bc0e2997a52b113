"""BAM's masks: cut-outs in one pickled array, brought to masks of whole pictures."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskexp.data.builders.bam_names import OBJECTS
from maskexp.data.builders.converted_masks import converted_masks
from maskexp.data.errors import DataError
from maskexp.data.loading.image_files import stored_size
from maskexp.data.manifest.prepared import in_parallel
from maskexp.data.manifest.table import Box

__all__ = ["pasted_masks", "read_cutouts"]

HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""All that a pickle of arrays needs; a file from the web may name anything else."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a harmless class or function, refuse any other."""
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return super().find_class(module, name)


def pasted_masks(place: Path, boxes: Mapping[str, Box], cache_dir: str | Path | None) -> Path:
    """Return the folder of masks ``<picture>.png`` as large as their pictures, made on first use.

    ``val_mask`` holds the cut-out of each (object, number), objects in their order, whatever the scene; a mask is the
    cut-out resized to the picture's box, bilinearly like the object itself.

    Args:
        place: folder of the set, with ``val``, ``val_loc.txt`` and ``val_mask``.
        boxes: box of each picture of ``val`` by its file name.
        cache_dir: see :func:`~maskexp.data.manifest.prepared.cache_folder`.

    Raises:
        DataError: if there is another number of cut-outs than of objects times numbers, or the file is damaged.
    """

    def convert(folder: Path) -> None:
        cutouts = read_cutouts(place / "val_mask")
        numbers = sorted({name.rpartition("-")[2] for name in boxes})
        if len(cutouts) != len(OBJECTS) * len(numbers):
            raise DataError(
                f"{place / 'val_mask'} holds {len(cutouts)} masks, but {place / 'val_loc.txt'} names {len(OBJECTS)} "
                f"objects times {len(numbers)} numbers; make the set again"
            )

        def write(name: str) -> None:
            index = OBJECTS.index(name.partition("-")[0]) * len(numbers) + numbers.index(name.rpartition("-")[2])
            mask = _pasted(cutouts[index], boxes[name], stored_size(place / "val" / name))
            mask.save(folder / f"{Path(name).stem}.png")

        in_parallel(write, sorted(boxes))

    digests = [hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ("val_mask", "val_loc.txt")]
    return converted_masks(cache_dir, "bam", {"place": str(place.resolve()), "digests": digests}, convert)


def read_cutouts(path: Path) -> list[NDArray[np.uint8]]:
    """Read ``val_mask``: an array of masks of different sizes, which NumPy can only store as a pickle.

    Raises:
        DataError: if it is no such array, or would run code.
    """
    try:
        with path.open("rb") as file:
            values = _read_array(file)
        cutouts = [np.asarray(value).astype(np.uint8) for value in values]
    except (pickle.UnpicklingError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no array of masks ({error}); make the set again") from error
    if any(cutout.ndim != 2 or not cutout.size for cutout in cutouts):
        raise DataError(f"{path} holds something else than masks of two dimensions; make the set again")
    return cutouts


def _read_array(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of NumPy's format is not known")
    _, _, dtype = read_header[version](file)
    if dtype.hasobject:
        return ArrayUnpickler(file).load()
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _pasted(cutout: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> Image.Image:
    left, top, right, bottom = (round(corner) for corner in box)
    whole = Image.new("L", size)
    inside = Image.fromarray(np.where(cutout > 0, 255, 0).astype(np.uint8))
    whole.paste(inside.resize((right - left, bottom - top), Image.Resampling.BILINEAR), (left, top))
    return whole
