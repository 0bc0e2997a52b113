"""Image files as numpy arrays, with Pillow alone: what light commands need, and the decoder that works everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from maskexp.data.errors import CorruptImageError

__all__ = ["decode_array", "decode_mask", "stored_size"]

ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height


def decode_array(path: Path, mode: Literal["RGB", "L"]) -> NDArray[np.uint8]:
    """Decode an image file of any mode, upright as its EXIF orientation says; of an animation the first frame.

    Returns:
        uint8 ``(H, W, 3)`` for ``RGB``, ``(H, W)`` for ``L``.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image or ends early.
    """
    with _opened(path) as image:
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
    except (ValueError, EOFError) as error:
        raise CorruptImageError(f"{path} cannot be read as a mask: {error}") from error
    if values.ndim != 2:
        raise CorruptImageError(f"{path} holds an array of shape {values.shape}; a mask has two dimensions")
    scale = 255 if values.max(initial=0) <= 1 else 1
    return (values * scale).astype(np.uint8)  # type: ignore[no-any-return]


def stored_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file or a ``.npy`` mask as it would be decoded, from its header.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image.
    """
    if path.suffix == ".npy":
        height, width = decode_mask(path).shape
        return width, height
    with _opened(path) as image:
        sideways = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
        return (image.height, image.width) if sideways else (image.width, image.height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; what is wrong with its content becomes a CorruptImageError that names the file."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptImageError(f"{path} cannot be decoded ({error}); copy or download the file again") from error
