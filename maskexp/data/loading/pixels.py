"""Where pixels come from: files, or an array in memory. The rest of the data room does not see the difference.

Files are decoded with torchcodec where it works, with Pillow everywhere.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from maskexp.data.errors import DataError
from maskexp.data.loading.image_files import HALF, decode_array, decode_mask, opened_image, stored_size
from maskexp.data.manifest.prepared import in_parallel
from maskexp.data.manifest.table import Row, is_tiny, pixels_of
from maskexp.data.transforms.geometry import EvalTransform
from maskexp.types import ForegroundKind

__all__ = ["FilePixels", "HiddenPixels", "MemoryPixels", "Pixels", "decoder_name", "read_mask", "read_rgb"]


class Pixels(Protocol):
    """The stored pixels of one split."""

    has_foreground: np.ndarray
    """``(N,)`` bool, which samples have ground truth."""

    def read(self, index: int) -> Tensor:
        """Return uint8 ``(4, H, W)``: RGB, and the soft foreground (0 where there is none).

        Where no sample of the split has one, the fourth channel may be left out.
        """
        ...


class MemoryPixels:
    """Pixels that were made in memory.

    Args:
        values: uint8 ``(N, 4, H, W)``, RGB and soft foreground.
        with_foreground: False blanks the foreground.
    """

    def __init__(self, values: np.ndarray, with_foreground: bool = True) -> None:
        self.values = values
        self.has_foreground = np.full(len(values), with_foreground)

    def read(self, index: int) -> Tensor:
        """Return a copy of the sample, uint8 ``(4, H, W)``."""
        pixels = torch.from_numpy(self.values[index].copy())
        if not self.has_foreground[index]:
            pixels[3] = 0
        return pixels


class HiddenPixels:
    """Pixels of which a part is black; the foreground stays.

    Args:
        pixels: whole images.
        hides: what is hidden of a sample, ``(S, S)`` bool, as evaluation sees it.
        transform: of evaluation.
    """

    def __init__(self, pixels: Pixels, hides: Callable[[int], Tensor], transform: EvalTransform) -> None:
        self.pixels, self.hides, self.transform = pixels, hides, transform
        self.has_foreground = pixels.has_foreground

    def read(self, index: int) -> Tensor:
        """Return the sample, uint8 ``(4, H, W)`` or ``(3, H, W)``."""
        image = self.pixels.read(index)
        hidden = self.transform.undone(self.hides(index), image.shape[1], image.shape[2])
        image[:3, hidden] = 0
        return image


class FilePixels:
    """Pixels that are decoded from files when they are asked for.

    Args:
        rows: rows of one split.
        foreground: what the fourth channel is made of: the row's mask, its boxes, or nothing.
        root: folder to which image paths are relative.
        mask_root: folder to which mask paths are relative; ``root`` if not given.

    Raises:
        DataError: if a box is smaller than a pixel.
    """

    def __init__(
        self, rows: Sequence[Row], foreground: ForegroundKind, root: Path, mask_root: Path | None = None
    ) -> None:
        self.root, self.mask_root, self.foreground = root, mask_root or root, foreground
        # Arrays of bytes: lists of str would be copied page by page into every forked worker.
        self.images = np.array([row.image.encode() for row in rows], np.bytes_)
        self.masks = np.array([row.mask.encode() if foreground == "segmentation" else b"" for row in rows], np.bytes_)
        boxes = [row.boxes if foreground == "box" else () for row in rows]
        for row, box in ((row, box) for row, of_row in zip(rows, boxes, strict=True) for box in of_row):
            if is_tiny(box):
                raise DataError(
                    f"the box {', '.join(f'{corner:g}' for corner in box)} of {row.id!r} (split {row.split!r}) is "
                    "smaller than a pixel; its corners are pixels, not shares of the image"
                )
        self.boxes = np.full((len(rows), max(map(len, boxes), default=0), 4), np.nan, np.float32)
        for index, of_row in enumerate(boxes):
            self.boxes[index, : len(of_row)] = np.array(of_row, np.float32).reshape(-1, 4)
        self.has_foreground = (self.masks != b"") | np.any(np.isfinite(self.boxes[..., 0]), axis=1)
        self._any_foreground = bool(self.has_foreground.any())

    def read(self, index: int) -> Tensor:
        """Decode one sample to uint8 ``(4, H, W)``, or ``(3, H, W)`` where no sample has a foreground.

        Raises:
            CorruptImageError: if a file cannot be decoded.
            DataError: if a file is missing, or mask and image differ in size.
        """
        path = self.root / self.images[index].decode()
        try:
            image = read_rgb(path)
            if not self._any_foreground:
                return image
            region = self._region(index, path, image.shape[1], image.shape[2])
        except FileNotFoundError as error:
            raise _missing(error) from error
        return torch.cat([image, region])

    def require_meaning(self, split: str) -> None:
        """Make sure that the foregrounds are neither all empty nor all full, as those are that were misread.

        Reads masks until it has found a pixel of foreground and one of background, which is the first of them as a
        rule.

        Args:
            split: for the message.

        Raises:
            CorruptImageError: if a file cannot be decoded.
            DataError: if a file is missing, or all foregrounds of the split are empty, or all full.
        """
        seen: set[bool] = set()
        for index in np.flatnonzero(self.has_foreground):
            image = self.root / self.images[index].decode()
            try:
                width, height = stored_size(image)
                region = self._region(int(index), image, height, width) >= HALF
            except FileNotFoundError as error:
                raise _missing(error) from error
            seen.update(inside for inside in (False, True) if bool((region == inside).any()))
            if len(seen) == 2:
                return
        if seen:
            what = "masks" if self.foreground == "segmentation" else "boxes"
            how = "cover the whole image" if True in seen else "are empty"
            raise DataError(
                f"all {int(self.has_foreground.sum())} {what} of split {split!r} {how}, so that they tell object and "
                "background in another way than is read; run `maskexp data check`"
            )

    def fingerprint(self) -> str:
        """Return a hash over sizes and times of all files: another one means that their content may have changed.

        Raises:
            DataError: if a file is missing.
        """
        images = [self.root / name.decode() for name in self.images]
        masks = [self.mask_root / name.decode() for name in self.masks if name]
        try:
            states = in_parallel(_state, [*images, *masks])
        except FileNotFoundError as error:
            raise _missing(error) from error
        return hashlib.sha256(repr(states).encode()).hexdigest()

    def _region(self, index: int, image: Path, height: int, width: int) -> Tensor:
        """Return the soft foreground uint8 ``(1, height, width)``."""
        if self.masks[index]:
            path = self.mask_root / self.masks[index].decode()
            mask = read_mask(path)
            if mask.shape[1:] != (height, width):
                raise DataError(
                    f"the mask {path} has {mask.shape[2]}x{mask.shape[1]} pixels but its image {image} has "
                    f"{width}x{height}; they must have the same size"
                )
            return mask
        region = torch.zeros(1, height, width, dtype=torch.uint8)
        for box in self.boxes[index]:
            if np.isfinite(box).all():
                x0, y0, x1, y1 = pixels_of(box.tolist())
                if x0 >= min(x1, width) or y0 >= min(y1, height):
                    corners = ", ".join(f"{corner:g}" for corner in box.tolist())
                    raise DataError(f"the box {corners} of {image} shows none of its {width}x{height} pixels")
                region[:, y0:y1, x0:x1] = 255
        return region


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of the last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _missing(error: FileNotFoundError) -> DataError:
    return DataError(f"{error.filename} is missing although the manifest lists it; run `maskexp data check`")


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

    Both decoders give the same pixels. Formats and sizes that Pillow refuses by the header do not reach torchcodec
    either, and palettes do not: up to version 0.16 it writes beyond its buffer where one is transparent.

    Returns:
        uint8 ``(3, H, W)``, in memory pixel by pixel or plane by plane.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptImageError: if the file is no image or ends early.
    """
    decode = _torchcodec()
    if decode is not None:
        with opened_image(path) as image:
            has_palette = image.mode == "P"
    if decode is not None and not has_palette:
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
