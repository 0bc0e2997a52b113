"""Read image files as uint8 tensors: with torchcodec where it works, with Pillow everywhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from maskexp.data.errors import CorruptImageError

__all__ = ["decoder_name", "read_mask", "read_rgb"]


@cache
def _torchcodec() -> Callable[..., Tensor] | None:
    """Return torchcodec's image decoder, or None where it is absent or was built for another torch."""
    try:
        from torchcodec.decoders import decode_image  # type: ignore[attr-defined]
    except (ImportError, OSError, RuntimeError) as error:
        if not isinstance(error, ModuleNotFoundError):
            warnings.warn(f"torchcodec is installed but does not load, Pillow decodes instead: {error}", stacklevel=2)
        return None
    decode: Callable[..., Tensor] = decode_image
    return decode


def decoder_name() -> str:
    """Return which library decodes images: ``torchcodec`` or ``pillow``."""
    return "pillow" if _torchcodec() is None else "torchcodec"


def read_rgb(path: Path) -> Tensor:
    """Decode an image file of any mode to RGB.

    Returns:
        uint8 ``(3, H, W)``.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image or ends early.
    """
    decode = _torchcodec()
    if decode is None:
        return _pillow(path, "RGB")
    try:
        return decode(str(path), mode="RGB")
    except (RuntimeError, ValueError):  # a format that torchcodec lacks, or a broken file: Pillow knows which
        return _pillow(path, "RGB")


def read_mask(path: Path) -> Tensor:
    """Read a mask: any image file as grey levels, or a ``.npy`` array of booleans, 0/1 or 0..255.

    Returns:
        uint8 ``(1, H, W)``, 0 (background) to 255 (foreground).

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file cannot be read as a mask.
    """
    if path.suffix != ".npy":
        return _pillow(path, "L")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptImageError(f"{path} cannot be read as a mask: {error}") from error
    if values.ndim != 2:
        raise CorruptImageError(f"{path} holds an array of shape {values.shape}; a mask has two dimensions")
    scale = 255 if values.max(initial=0) <= 1 else 1
    return torch.from_numpy((values * scale).astype(np.uint8))[None]


def _pillow(path: Path, mode: str) -> Tensor:
    """Decode with Pillow to ``(C, H, W)`` in ``RGB`` or ``L``."""
    try:
        with Image.open(path) as image:
            values = np.array(image.convert(mode))
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CorruptImageError(f"{path} cannot be decoded ({error}); copy or download the file again") from error
    pixels = torch.from_numpy(values)
    return pixels[None] if mode == "L" else pixels.permute(2, 0, 1).contiguous()
