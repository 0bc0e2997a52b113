"""Image and mask files as numpy arrays, with Pillow alone: for light commands, and where no other decoder works.

Everything that can be wrong with a file becomes a :class:`~maskexp.data.errors.CorruptImageError` that names it. What a
mask means is decided here and nowhere else: :func:`decode_mask`.
"""

from __future__ import annotations

import os
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from maskexp.data.errors import CorruptImageError
from maskexp.files import is_special

__all__ = ["FORMATS", "HALF", "Storage", "decode_array", "decode_mask", "opened_image", "storage", "stored_size"]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")
"""Formats that are read, as Pillow names them. Others may start programs (PostScript starts Ghostscript)."""
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, AssertionError),
    *(EOFError, RuntimeError, MemoryError, struct.error, zlib.error, tokenize.TokenError),
)
"""What Pillow's and numpy's readers raise on damaged files."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGEST = "MASKEXP_MAX_PIXELS"
"""Environment variable: pixels of the largest image that is read, if not Pillow's limit of 179 million."""
HALF = 128
"""Foreground begins here, of 0..255: one half, rounded up."""
CLASS_IDS = 32
"""A mask whose largest value lies between 1 and this is a map of classes, not a soft mask."""
WIDE_GAP, PEOPLE = 32, range(2, 11)
"""Levels between which an estimate would have some; numbers of people whose masks may have been averaged."""
MOSTLY = 0.9
"""Share of black and white pixels from which on grey colours beside an alpha channel are a mask themselves."""
SHOWN = 8
"""Values of a mask that a message lists."""
GREY_TOLERANCE = 8
"""Difference between channels that JPEG leaves in grey."""

# A colour profile of a printer is larger than the 1 MB that Pillow reads of a PNG's; 64 MB still bound the memory.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 64 << 20)
# Pillow warns without naming the file; what is wrong with one is found, and refused or reported, here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
if os.environ.get(LARGEST, "").isdecimal():
    Image.MAX_IMAGE_PIXELS = max(int(os.environ[LARGEST]), 1)


@dataclass(frozen=True, slots=True)
class Storage:
    """How an image file is stored, from its header.

    Attributes:
        width: pixels of the upright image.
        height: pixels of the upright image.
        mode: Pillow's mode, e.g. ``RGB``.
        format: Pillow's format, e.g. ``JPEG``.
        orientation: EXIF orientation, 1 (as stored) to 8; None where the EXIF data cannot be read.
    """

    width: int
    height: int
    mode: str
    format: str
    orientation: int | None


def decode_array(path: Path, mode: Literal["RGB", "L"]) -> NDArray[np.uint8]:
    """Decode an image file of any mode, upright as its EXIF orientation says; of an animation the first frame.

    16 bits are scaled to 8. Floats have to be in [0, 1], and integers of 32 bits in 0..255: of any other range nobody
    knows what white is.

    Returns:
        uint8 ``(H, W, 3)`` for ``RGB``, ``(H, W)`` for ``L``.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image, ends early, or holds values of another range.
    """
    with opened_image(path) as image:
        upright = _upright(image)
        if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            upright = Image.fromarray(_as_bytes(np.asarray(upright), upright.mode, path))
        return np.array(upright.convert(mode))


def decode_mask(path: Path) -> NDArray[np.uint8]:
    """Decode a mask: any image file, or a ``.npy`` array of two dimensions.

    * one channel (or grey stored as RGB or palette): False/True, 0/1, soft 0..255, soft 0..65535 in 16 bits, or floats
      in [0, 1];
    * colours: exactly one colour on black;
    * an alpha channel that is not opaque everywhere: the mask, if the colours are none;
    * an array: booleans, integers or floats of the same ranges.

    Everything else could mean several things and is refused, a map of classes for example.

    Returns:
        uint8 ``(H, W)``, 0 (background) to 255 (foreground).

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file cannot be read, or its values as no mask.
    """
    try:
        if path.suffix == ".npy":
            return _levels(_read_npy(path))
        with opened_image(path) as image:
            return _mask(_upright(image), lossy=image.format in ("JPEG", "MPO"))
    except _NoMaskError as error:
        raise CorruptImageError(f"the mask {path} {error}") from error


def storage(path: Path) -> Storage:
    """Return how an image file is stored, from its header.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image.
    """
    with opened_image(path) as image:
        orientation = _orientation(image)
        width, height = (image.height, image.width) if orientation in SIDEWAYS else (image.width, image.height)
        return Storage(width, height, image.mode, image.format or "", orientation)


def stored_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file or a ``.npy`` mask as it would be decoded, from its header.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image.
    """
    if path.suffix == ".npy":
        height, width = _read_npy(path).shape
        return width, height
    stored = storage(path)
    return stored.width, stored.height


class _NoMaskError(ValueError):
    """Values that are no mask; the message goes on after the path."""


@cache
def _available_formats() -> tuple[str, ...]:
    """Return those of the formats that this build of Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; what is wrong with its content becomes a CorruptImageError that names the file."""
    if is_special(path):
        raise CorruptImageError(f"{path} is a device or a pipe; only a regular file can be read")
    try:
        with Image.open(path, formats=_available_formats()) as image:
            yield image
    except (FileNotFoundError, CorruptImageError, _NoMaskError):
        raise
    except (PermissionError, IsADirectoryError) as error:
        raise CorruptImageError(f"{path} cannot be read ({error.strerror})") from error
    except Image.DecompressionBombError as error:
        raise CorruptImageError(
            f"{path} is too large: it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller, or "
            f"set the environment variable {LARGEST} to a larger number if you trust the file"
        ) from error
    except UnidentifiedImageError as error:
        raise CorruptImageError(
            f"{path} cannot be decoded: it is damaged, or no image of a format that is read ({', '.join(FORMATS)}); "
            "copy or download the file again, or convert it"
        ) from error
    except DAMAGE as error:
        raise CorruptImageError(f"{path} cannot be decoded: it is damaged; copy or download the file again") from error


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 1 to 8; None where it cannot be read, which leaves the image as it is stored."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return None
    return value if type(value) is int and 1 <= value <= max(TRANSPOSITIONS) else None


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says. Pillow's own way writes the EXIF data anew, which damage can stop."""
    image.load()
    orientation = _orientation(image)
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation in TRANSPOSITIONS else image


def _as_bytes(values: NDArray[Any], mode: str, path: Path) -> NDArray[np.uint8]:
    """Return an image of more than 8 bits as bytes."""
    if mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling them
        return np.asarray(np.rint(values / 257), np.uint8)
    most, scale = (1, 255) if mode == "F" else (255, 1)
    low, high = values.min(initial=0), values.max(initial=0)
    if not 0 <= low <= high <= most:
        kind = "floats" if mode == "F" else "integers of 32 bits"
        raise CorruptImageError(
            f"{path} holds {kind} from {low:g} to {high:g}, and what is white is unknown; save the image with 8 or 16 "
            f"bits a channel, or with {kind} from 0 to {most}"
        )
    return np.asarray(np.rint(values * scale), np.uint8)


def _read_npy(path: Path) -> NDArray[Any]:
    if is_special(path):
        raise CorruptImageError(f"{path} is a device or a pipe; only a regular file can be read")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # a header that lies about its size fills no memory
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise CorruptImageError(
            f"{path} cannot be read as a mask: it is damaged or no array; write it again"
        ) from error
    if not isinstance(values, np.ndarray):
        raise CorruptImageError(f"{path} cannot be read as a mask: it holds several arrays")
    if values.ndim != 2:
        raise CorruptImageError(f"{path} holds an array of shape {values.shape}; a mask has two dimensions")
    array: NDArray[Any] = values
    return array


def _mask(image: Image.Image, lossy: bool) -> NDArray[np.uint8]:
    """Return what an image means as a mask, uint8 ``(H, W)``; a lossy one has noise around its values."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min(initial=255) < HALF:
            return _with_alpha(np.asarray(image.convert("RGB")), alpha)
        image = image.convert("RGB")
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return _levels(np.asarray(image), lossy)
    return _coloured(np.asarray(image.convert("RGB")), lossy)


def _with_alpha(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask of an image that is partly transparent: its alpha channel, unless its colours are a mask too."""
    if alpha.max(initial=0) == 0:
        raise _NoMaskError("is wholly transparent; save it as black and white without an alpha channel")
    from_alpha = _levels(alpha)
    if (colours == colours[0, 0]).all():
        return from_alpha
    try:
        from_colours = _coloured(colours)
    except _NoMaskError:
        return from_alpha  # a cut-out: the object in its colours
    if np.isin(from_colours, (0, 255)).mean() < MOSTLY:
        return from_alpha  # a cut-out of a grey image
    if ((from_alpha >= HALF) != (from_colours >= HALF)).any():
        raise _NoMaskError(
            "tells one foreground by its colours and another by its alpha channel; save only one of them"
        )
    return from_colours


def _coloured(colours: NDArray[np.uint8], lossy: bool = False) -> NDArray[np.uint8]:
    """Return the mask of an RGB image: its grey levels, or one colour on black."""
    if int((colours.max(2) - colours.min(2)).max(initial=0)) <= GREY_TOLERANCE:
        return _levels(np.asarray(Image.fromarray(colours).convert("L")), lossy)
    codes = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    lit = codes[codes != 0]
    if (lit == lit[0]).all():
        return np.where(codes != 0, 255, 0).astype(np.uint8)
    raise _NoMaskError(
        f"has {len(np.unique(codes))} colours, so that it may be a map of classes; save the foreground white on black"
    )


def _is_map_of_classes(levels: NDArray[np.uint8], present: list[int]) -> bool:
    """Return whether more of the area lies flat at levels that would count as background than at those above them.

    Soft edges lie nowhere flat, and the levels of an estimate leave no wide gap. The mean of several people's masks is
    flat and has gaps too, but its levels are shares of white by so many people.
    """
    between = [level for level in present if 0 < level < 255]
    if not between or max(after - before for before, after in pairwise([0, *between, 255])) <= WIDE_GAP:
        return False
    if present[-1] == 255 and any(all(_is_share(level, people) for level in between) for people in PEOPLE):
        return False
    inner = levels[1:-1, 1:-1]
    flat = (inner == levels[:-2, 1:-1]) & (inner == levels[2:, 1:-1])
    flat &= (inner == levels[1:-1, :-2]) & (inner == levels[1:-1, 2:])
    areas = np.bincount(inner[flat], minlength=256)
    return int(areas[1:HALF].sum()) > int(areas[HALF:].sum())


def _is_share(level: int, people: int) -> bool:
    """Return whether a level is what a number of people's masks have as their mean, rounded either way."""
    share = level * people / 255
    return abs(share - round(share)) * 255 / people < 1


def _levels(values: NDArray[Any], lossy: bool = False) -> NDArray[np.uint8]:
    """Return the mask of one channel of any type as 0..255."""
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.uint8) * 255
    if kind not in "iuf":
        raise _NoMaskError(f"holds values of type {values.dtype}; save booleans, or numbers from 0 to 255")
    if kind == "f" and not np.isfinite(values).all():
        raise _NoMaskError("holds values that are not finite; save booleans, or numbers from 0 to 255")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0:
        raise _NoMaskError(f"holds values from {low:g} to {high:g}; save booleans, or numbers from 0 to 255")
    if high <= 1:
        return np.rint(values * np.float64(255)).astype(np.uint8)
    whole = kind != "f" or bool((values == np.rint(values)).all())
    if not whole or high > 65535:
        raise _NoMaskError(f"holds values from {low:g} to {high:g}; save booleans, or numbers from 0 to 255")
    if high > 255:
        if kind == "f" or high < 65535 // 2:
            raise _NoMaskError(f"holds values up to {high:g}, neither 0..255 nor 0..65535; save it with 8 bits")
        return np.rint(values / 257).astype(np.uint8)
    levels = values.astype(np.uint8)
    if lossy:
        return levels
    present = np.flatnonzero(np.bincount(levels.ravel(), minlength=256)).tolist()
    if high < CLASS_IDS or present in ([1, 255], [0, 1, 255]) or _is_map_of_classes(levels, present):
        shown = ", ".join(map(str, present[:SHOWN])) + (", …" if len(present) > SHOWN else "")
        raise _NoMaskError(
            f"holds the values {shown}, neither 0/1 nor 0..255, so that it may be a map of classes; save the "
            "foreground white on black"
        )
    return levels
