"""Decoded images in one file, for those who read the same ones many times: ``cache: memmap``.

``images.u8`` holds the images one behind the other, each ``(h, w, C)`` uint8, the soft foreground as its last channel
where there is any. ``index.json`` says what they were made from and how.

No cache is ever removed because it is old: another run may be reading it. Whoever has one built is told how much the
others of the same split take, and can delete what no run reads; it is built again when it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskexp.data.disk import files_bar, readable, require_space, writing
from maskexp.data.errors import DataError
from maskexp.data.loading.pixels import FilePixels, decoder_name
from maskexp.data.manifest.table import ManifestTable
from maskexp.files import write_json

__all__ = ["CachedPixels", "PixelCache"]

FORMAT = 1
DIGITS = 16  # of the hash in the name of a cache
IMAGES, INDEX = "images.u8", "index.json"
CHUNK = 64  # images that are decoded before they are written
SPOT_CHECKS = 16  # images whose checksum is looked at whenever a cache is opened


class CachedPixels:
    """Pixels of a cache that was built. The file is opened in the process that reads, not in the one that pickles.

    Args:
        folder: of the cache.
        shapes: ``(N, 2)`` int64, height and width of each image.
        channels: 4, or 3 where no image has a foreground.
        has_foreground: ``(N,)`` bool.
    """

    def __init__(
        self, folder: Path, shapes: NDArray[np.int64], channels: int, has_foreground: NDArray[np.bool_]
    ) -> None:
        self.path, self.shapes, self.channels, self.has_foreground = folder / IMAGES, shapes, channels, has_foreground
        self.offsets = np.concatenate([[0], np.cumsum(shapes.prod(1) * channels)])
        self._bytes: np.memmap[Any, np.dtype[np.uint8]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: pickle would copy all of it into each spawned worker."""
        return self.__dict__ | {"_bytes": None}

    def read(self, index: int) -> Tensor:
        """Return uint8 ``(C, h, w)``: RGB, and the soft foreground where any image has one."""
        if self._bytes is None:
            self._bytes = np.memmap(self.path, np.uint8, "r")
        stored = np.array(self._bytes[self.offsets[index] : self.offsets[index + 1]])
        height, width = self.shapes[index]
        return torch.from_numpy(stored.reshape(height, width, self.channels)).permute(2, 0, 1)


@dataclass(frozen=True, slots=True)
class PixelCache:
    """The decoded images of one split after one geometry: where they are kept and what they are made from.

    Attributes:
        folder: where caches are kept.
        table: the manifest.
        split: name of the split.
        pixels: the files.
        transform: what is done to an image before it is stored.
        transform_key: what decides over the pixels in ``transform``, plain types.
        output_size: (height, width) of what is stored of an image of a (height, width).
        workers: threads that decode.
    """

    folder: Path
    table: ManifestTable
    split: str
    pixels: FilePixels
    transform: Callable[[Tensor], Tensor]
    transform_key: dict[str, Any]
    output_size: Callable[[int, int], tuple[int, int]]
    workers: int = 2

    @property
    def channels(self) -> int:
        """4, or 3 where no image has a foreground."""
        return 4 if self.pixels.has_foreground.any() else 3

    @property
    def key(self) -> dict[str, Any]:
        """What decides over the pixels, besides the content of the files: another key is another cache."""
        decoder = decoder_name()
        return {
            "format": FORMAT,
            "manifest": self.table.digest,
            "split": self.split,
            "root": str(self.pixels.root.resolve()),
            "mask_root": str(self.pixels.mask_root.resolve()),
            "foreground": self.pixels.foreground,
            "geometry": self.transform_key,
            "decoder": f"{decoder} {version(decoder)}",
            "resampling": f"torch {torch.__version__}",
        }

    @property
    def place(self) -> Path:
        """Folder of this cache."""
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:DIGITS]
        return self.folder / "pixels" / f"{self.table.card.name}-{self.split}-{digest}"

    def open(self) -> CachedPixels:
        """Return the images; build the cache if it is not there, or say why it is not right and build it anew.

        Processes that come at the same time wait for the one that builds.

        Raises:
            DataError: if the disk is too small or cannot be written, or a image cannot be read.
        """
        place = self.place
        try:
            with writing(place):
                state = self.pixels.fingerprint()
                if place.exists() and (trouble := self._trouble(place, state)):
                    warnings.warn(f"the cache {place} {trouble}; it is built anew", stacklevel=2)
                    shutil.rmtree(place)
                if not place.exists():
                    self._build(place, state)
        except OSError as error:
            raise DataError(
                f"the cache {place} cannot be written ({error}); set MASKEXP_CACHE or the argument cache_dir to a "
                "folder that can be written, or omit `cache`"
            ) from error
        shapes = np.array(_read_index(place)["shapes"], np.int64)
        return CachedPixels(place, shapes, self.channels, self.pixels.has_foreground)

    def _trouble(self, place: Path, state: str) -> str | None:
        """Return what is wrong with a cache, None if nothing is."""
        try:
            index = _read_index(place)
            shapes, checksums = np.array(index["shapes"], np.int64).reshape(-1, 2), index["crc32"]
            if index["key"] != self.key or index["files"] != state:
                return "was made from files that have changed since"
            cached = CachedPixels(place, shapes, self.channels, self.pixels.has_foreground)
            complete = len(shapes) == len(checksums) == len(self.pixels.images)
            if not complete or cached.path.stat().st_size != cached.offsets[-1]:
                return "is not complete"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"is damaged ({type(error).__name__}: {error})"
        for looked_at in np.unique(np.linspace(0, len(shapes) - 1, SPOT_CHECKS).astype(int)):
            if zlib.crc32(_stored(cached.read(looked_at))) != checksums[looked_at]:
                return f"is damaged (image {looked_at} differs from its checksum)"
        return None

    def _build(self, place: Path, state: str) -> None:
        """Write the cache beside its place and rename it when it is whole."""
        self._require_space()
        self._tell_of_others()
        partial = place.with_name(f".{place.name}.part")
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed; the lock is ours
        partial.mkdir()
        try:
            shapes: list[list[int]] = []
            checksums: list[int] = []
            with (partial / IMAGES).open("wb") as file, files_bar() as bar:
                for image in bar.track(self._images(), len(self.pixels.images), description=self._title):
                    stored = _stored(image)
                    shapes.append(list(image.shape[1:]))
                    checksums.append(zlib.crc32(stored))
                    file.write(stored)
            index = {"key": self.key, "files": state, "shapes": shapes, "crc32": checksums}
            write_json(partial / INDEX, index)
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _images(self) -> Iterator[Tensor]:
        """Decode in threads and yield in order, uint8 ``(C, h, w)``."""
        size = len(self.pixels.images)

        def stored(index: int) -> Tensor:
            return self.transform(self.pixels.read(index))[: self.channels]

        with ThreadPoolExecutor(self.workers) as pool:
            for start in range(0, size, CHUNK):
                yield from pool.map(stored, range(start, min(start + CHUNK, size)))

    @property
    def _title(self) -> str:
        return f"caching {self.table.card.name} {self.split}"

    def _require_space(self) -> None:
        """Raise DataError if the images will not fit."""
        needed = 0
        for row in self.table.split(self.split):
            height, width = self.output_size(row.height or 480, row.width or 640)
            needed += height * width * self.channels
        what = f"the cache of split {self.split!r} (its folder is MASKEXP_CACHE, or the argument cache_dir)"
        require_space(self.folder, needed, what)

    def _tell_of_others(self) -> None:
        """Log what other caches of this split take: of earlier settings, or of files that have changed since."""
        beside = sorted(self.place.parent.glob(f"*/{IMAGES}"))
        sizes = [path.stat().st_size for path in beside if path.parent.name[:-DIGITS] == self.place.name[:-DIGITS]]
        if sizes:
            logging.getLogger(__name__).warning(
                "%s holds %s of other caches of %s %s (%d); delete those that no run reads",
                *(self.place.parent, readable(sum(sizes)), self.table.card.name, self.split, len(sizes)),
            )


def _stored(image: Tensor) -> bytes:
    """Return a image ``(C, h, w)`` as it is stored, ``(h, w, C)``: torch resizes this order faster."""
    return image.permute(1, 2, 0).numpy().tobytes()


def _read_index(place: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((place / INDEX).read_text(encoding="utf-8"))
    return index
