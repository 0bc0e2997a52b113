"""What can be wrong with a single row of a manifest and its files. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import Image

from maskexp.data.errors import CorruptImageError
from maskexp.data.loading.image_files import Storage, decode_array, decode_mask, storage
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import Box, Row, is_tiny, pixels_of

__all__ = ["KINDS", "MEANINGLESS", "Severity", "examine"]

Severity = Literal["error", "warning", "note"]
KINDS: dict[str, tuple[Severity, str]] = {
    "missing": ("error", "files are missing"),
    "corrupt": ("error", "files cannot be decoded"),
    "image_size": ("error", "images have another size than the manifest says"),
    "mask_size": ("error", "masks have another size than their image"),
    "box_empty": ("error", "boxes are empty, or lie beyond their image"),
    "box_tiny": ("error", "boxes are smaller than a pixel (corners are pixels, not shares of the image)"),
    "leak": ("error", "images are in the training split and in another one"),
    "two_labels": ("error", "images stand under two labels"),
    "shared": ("warning", "images are in the validation split and in the test split"),
    "no_attribute": ("warning", "images have no attribute although others have one; no group counts them"),
    "box_outside": ("warning", "boxes reach more than a pixel beyond their image"),
    "mask_empty": ("warning", "masks are empty"),
    "mask_full": ("warning", "masks cover the whole image"),
    "box_full": ("note", "boxes cover the whole image"),
    "orientation": (
        "warning",
        "images are turned by their EXIF orientation (masks and boxes have to be drawn on the upright image)",
    ),
    "mask_none": ("note", "images have no mask although others have one"),
    "mask_mode": ("note", "masks are not stored as grey levels"),
    "image_mode": ("note", "images are not stored as RGB (they are converted)"),
    "exif": ("note", "images have EXIF data that cannot be read (they are taken as they are stored)"),
    "image_format": ("note", "files have another format than their name says (they are read by their content)"),
}
"""Severity and words of everything that can be found in a single file or row."""
MEANINGLESS = {
    "mask_empty": "masks are empty",
    "mask_full": "masks cover the whole image",
    "box_full": "boxes cover the whole image",
}
"""What is an error where it is true of all foregrounds of a split."""
GREY_MODES, WIDE_MODES = ("1", "L", "I;16"), ("I", "F")


def examine(row: Row, prepared: Prepared, decode: bool) -> Iterator[tuple[str, str]]:
    """Yield (kind, item) of what is wrong with one row."""
    path = prepared.image_root(row.split) / row.image
    try:
        stored = storage(path)
        size = stored.width, stored.height
        yield from _examine_storage(path, stored, decode)
    except FileNotFoundError:
        yield "missing", str(path)
        return
    except CorruptImageError as error:
        yield "corrupt", str(error)
        return
    if row.width and (row.width, row.height) != size:
        yield "image_size", f"{path}: {size[0]}x{size[1]}, manifest {row.width}x{row.height}"
    if stored.orientation not in (None, 1) and (row.mask or row.boxes):
        yield "orientation", f"{path}: orientation {stored.orientation}"
    if row.mask:
        yield from _examine_mask((prepared.mask_root or prepared.root) / row.mask, size)
    elif prepared.table.card.mask_kind != "none":
        yield "mask_none", str(path)
    for box in row.boxes:
        yield from _examine_box(row, box, size)


def _examine_storage(path: Path, stored: Storage, decode: bool) -> Iterator[tuple[str, str]]:
    """Yield in which way an image file is stored unusually, and decode it."""
    if stored.mode != "RGB":
        yield "image_mode", f"{path}: {stored.mode}"
    if stored.format.replace("MPO", "JPEG") != Image.registered_extensions().get(path.suffix.lower()):
        yield "image_format", f"{path}: {stored.format}"
    if stored.orientation is None:
        yield "exif", str(path)
    if decode or stored.mode in WIDE_MODES:  # whose range is known only when they are decoded
        decode_array(path, "RGB")


def _examine_mask(path: Path, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a mask."""
    try:
        inside = decode_mask(path) >= 128
        if path.suffix != ".npy" and (mode := storage(path).mode) not in GREY_MODES:
            yield "mask_mode", f"{path}: {mode}"
    except FileNotFoundError:
        yield "missing", str(path)
    except CorruptImageError as error:
        yield "corrupt", str(error)
    else:
        height, width = inside.shape
        if (width, height) != size:
            yield "mask_size", f"{path}: {width}x{height}, image {size[0]}x{size[1]}"
        if not inside.any():
            yield "mask_empty", str(path)
        if inside.all():
            yield "mask_full", str(path)


def _examine_box(row: Row, box: Box, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a box."""
    x0, y0, x1, y1 = box
    item = f"{row.split} {row.id}: {x0:g} {y0:g} {x1:g} {y1:g} in {size[0]}x{size[1]}"
    left, top, right, bottom = pixels_of(box)
    if x1 > x0 and y1 > y0 and is_tiny(box):
        yield "box_tiny", item
    elif left >= min(right, size[0]) or top >= min(bottom, size[1]):
        yield "box_empty", item
    if max(left, top) == 0 and right >= size[0] and bottom >= size[1]:
        yield "box_full", item
    if min(x0, y0) < -1 or x1 > size[0] + 1 or y1 > size[1] + 1:
        yield "box_outside", item
