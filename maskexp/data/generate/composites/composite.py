"""One composite: a bird, its soft mask, and what lies behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskexp.data.errors import DataError
from maskexp.data.loading.image_files import decode_array, decode_mask
from maskexp.files import atomic_write

__all__ = ["Composite", "fit", "paste", "write_composite"]


@dataclass(frozen=True, slots=True)
class Composite:
    """An image that is to be made.

    Attributes:
        target: path of the JPEG, relative to the folder that is written.
        bird: photograph; it decides the size.
        mask: its soft mask.
        scene: photograph behind the bird, or None for a flat background.
        level: grey level of the flat background, 0 to 255.
        with_bird: False shows the background alone.
        mask_target: path of the mask that is saved as PNG, relative to the folder; empty for none.
    """

    target: str
    bird: Path
    mask: Path
    scene: Path | None = None
    level: int = 0
    with_bird: bool = True
    mask_target: str = ""


def paste(bird: NDArray[np.uint8], alpha: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend a bird over a background with soft edges: ``round(a * bird + (1 - a) * background)``, ``a = alpha / 255``.

    Args:
        bird: ``(H, W, 3)``.
        alpha: ``(H, W)``, 0 background to 255 bird.
        background: ``(H, W, 3)``.
    """
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(bird * share + background * (1 - share)).astype(np.uint8)


def fit(scene: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a scene until it covers a size, and cut out its centre.

    The scaled size is rounded up: group_DRO's script rounds down, and fails for e.g. 183x244 on 375x500.

    Args:
        scene: RGB.
        size: (width, height).

    Returns:
        ``(height, width, 3)``.
    """
    width, height = size
    scale = max(width / scene.width, height / scene.height)
    covering = max(width, math.ceil(scene.width * scale)), max(height, math.ceil(scene.height * scale))
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    scaled = scene.resize(covering, Image.Resampling.LANCZOS)
    return np.asarray(scaled.crop((left, top, left + width, top + height)))


def write_composite(composite: Composite, folder: Path, quality: int) -> None:
    """Write an image, and its mask, unless they are there; each appears whole or not at all.

    Raises:
        DataError: if bird and mask have different sizes.
        CorruptImageError: if a file cannot be decoded.
    """
    target = folder / composite.target
    mask_target = folder / composite.mask_target if composite.mask_target else target
    if target.is_file() and mask_target.is_file():
        return
    bird = decode_array(composite.bird, "RGB")
    alpha = _alpha(composite, bird)
    if composite.mask_target:
        with atomic_write(mask_target) as partial:
            Image.fromarray(alpha).save(partial)
    with atomic_write(target) as partial:
        Image.fromarray(_pixels(composite, bird, alpha)).save(partial, quality=quality)


def _pixels(composite: Composite, bird: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what the image shows."""
    height, width, _ = bird.shape
    if composite.scene is None:
        background = np.full_like(bird, composite.level)
    else:
        background = fit(Image.fromarray(decode_array(composite.scene, "RGB")), (width, height))
    return paste(bird, alpha, background) if composite.with_bird else background


def _alpha(composite: Composite, bird: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask, which has to have the size of the bird."""
    alpha = decode_mask(composite.mask)
    if alpha.shape != bird.shape[:2]:
        raise DataError(
            f"the mask {composite.mask} has {alpha.shape[1]}x{alpha.shape[0]} pixels but its image {composite.bird} "
            f"has {bird.shape[1]}x{bird.shape[0]}; they must have the same size"
        )
    return alpha
