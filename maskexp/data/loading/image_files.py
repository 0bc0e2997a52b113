"""Image files as numpy arrays, with Pillow alone: what light commands need, and the decoder that works everywhere."""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from maskexp.data.errors import CorruptImageError

__all__ = ["decode_array", "decode_mask", "opened_image", "stored_size"]

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "MPO", "TGA")
"""What is decoded, whatever a file is called; Pillow knows others that start programs, such as PostScript."""
DAMAGE = (
    *(SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError),
    *(MemoryError, struct.error, zlib.error, tokenize.TokenError),
)
"""What Pillow and NumPy raise on damaged files, beside an OSError."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height


def decode_array(path: Path, mode: Literal["RGB", "L"]) -> NDArray[np.uint8]:
    """Decode an image file of any mode, upright as its EXIF orientation says; of an animation the first frame.

    Returns:
        uint8 ``(H, W, 3)`` for ``RGB``, ``(H, W)`` for ``L``.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image or ends early.
    """
    with opened_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling them
            upright = Image.fromarray(np.rint(np.asarray(upright) / 257).astype(np.uint8))
        return np.array(upright.convert(mode))


def decode_mask(path: Path) -> NDArray[np.uint8]:
    """Decode a mask: any image file as grey levels, or a ``.npy`` array of booleans, 0/1 or 0..255.

    Returns:
        uint8 ``(H, W)``, 0 (background) to 255 (foreground).

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file cannot be read as a mask.
    """
    if path.suffix != ".npy":
        return decode_array(path, "L")
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise
    except (*DAMAGE, OSError) as error:
        raise CorruptImageError(
            f"{path} cannot be read as a mask: it is damaged or no array; write it again"
        ) from error
    if not isinstance(values, np.ndarray):
        raise CorruptImageError(f"{path} cannot be read as a mask: it holds several arrays")
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_) or np.iscomplexobj(values):
        raise CorruptImageError(f"{path} holds {values.dtype}; a mask is of booleans or numbers")
    if values.ndim != 2:
        raise CorruptImageError(f"{path} holds an array of shape {values.shape}; a mask has two dimensions")
    scale = 255 if values.max(initial=0) <= 1 else 1
    return (values * scale).astype(np.uint8)


def stored_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file or a ``.npy`` mask as it would be decoded, from its header.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image.
    """
    if path.suffix == ".npy":
        height, width = decode_mask(path).shape
        return width, height
    with opened_image(path) as image:
        sideways = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
        return (image.height, image.width) if sideways else (image.width, image.height)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; what is wrong with its content becomes a CorruptImageError that names the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError as error:
        raise CorruptImageError(
            f"{path} has more pixels than an image of a data set; make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnidentifiedImageError as error:
        raise CorruptImageError(f"{path} cannot be decoded: it is no image of a known format") from error
    except (*DAMAGE, OSError) as error:
        raise CorruptImageError(f"{path} cannot be decoded: it is damaged; copy or download the file again") from error
