"""Read image files as uint8 tensors: with torchcodec where it works, with Pillow everywhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from maskexp.data.loading.image_files import decode_array, decode_mask

__all__ = ["decoder_name", "read_mask", "read_rgb"]


@cache
def _torchcodec() -> Callable[..., Tensor] | None:
    """Return torchcodec's image decoder, or None where it is absent or was built for another torch."""
    try:
        from torchcodec.decoders import decode_image
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
    """Decode an image file of any mode to RGB, upright as its EXIF orientation says; of an animation the first frame.

    Both decoders give the same pixels.

    Returns:
        uint8 ``(3, H, W)``, in memory pixel by pixel or plane by plane.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image or ends early.
    """
    decode = _torchcodec()
    if decode is not None:
        try:
            pixels = decode(str(path), mode="RGB")
        except (RuntimeError, ValueError):  # a broken file, or a format that torchcodec lacks: Pillow tells which
            pass
        else:
            return pixels if pixels.ndim == 3 else pixels[0]
    return torch.from_numpy(decode_array(path, "RGB")).permute(2, 0, 1)


def read_mask(path: Path) -> Tensor:
    """Read a mask, see :func:`~maskexp.data.loading.image_files.decode_mask`.

    Returns:
        uint8 ``(1, H, W)``, 0 (background) to 255 (foreground).
    """
    return torch.from_numpy(decode_mask(path))[None]
