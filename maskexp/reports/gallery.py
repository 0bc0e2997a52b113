"""The gallery's images as small files inside the page: thumbnails, masks, foregrounds and outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Gallery", "ImageSet", "Judged", "Model", "Picture", "picture_of"]

LARGEST, MASK_SIDE = 160, 64
"""Longest side in pixels of a thumbnail, and about that of a mask."""
QUALITY = 80
OUTLINE = (255, 159, 28)
"""The orange of the galleries that runs draw."""


@dataclass(frozen=True)
class Picture:
    """One image of the data.

    Attributes:
        id: of the image in its data.
        label: index of its class.
        group: index of its group, -1 where there is none.
        image: JPEG, base64.
        foreground: PNG that is opaque on the foreground, base64; empty where none is known.
        outline: PNG of its edge, base64; empty where none is known.
    """

    id: str
    label: int
    group: int
    image: str
    foreground: str = ""
    outline: str = ""


@dataclass(frozen=True)
class Judged:
    """What one model says of an image.

    Attributes:
        predicted: index of the class.
        probability: of the predicted class.
        probability_of_label: of the true class.
        epg: share of the attribution on the foreground; None where there is no foreground.
        area: mean of the attribution, which for a binary mask is its area; None where there is no map.
        mask: PNG that is as opaque as the attribution is high, base64; empty where there is no map.
    """

    predicted: int
    probability: float
    probability_of_label: float
    epg: float | None
    area: float | None
    mask: str = ""


@dataclass(frozen=True)
class ImageSet:
    """Images of one data set, which several models may have been asked about.

    Attributes:
        title: name and variant of the data, and how many of its images these are.
        classes: names.
        groups: names; empty where there are none.
        pictures: the images.
    """

    title: str
    classes: Sequence[str]
    groups: Sequence[str]
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Model:
    """What a model says of all images of a set.

    Attributes:
        name: by which the report calls it.
        set: number of the set.
        shows: what stands for the mask, e.g. ``mask`` or ``Grad-CAM``.
        judged: in the order of the set's images.
    """

    name: str
    set: int
    shows: str
    judged: Sequence[Judged]

    def values(self, name: str) -> list[float]:
        """Return ``epg`` or ``area`` of the images that have one."""
        found = (getattr(each, name) for each in self.judged)
        return [float(value) for value in found if value is not None]


@dataclass(frozen=True)
class Gallery:
    """All sets, and all models."""

    sets: Sequence[ImageSet] = ()
    models: Sequence[Model] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        return {
            "sets": [
                {
                    "title": each.title,
                    "classes": list(each.classes),
                    "groups": list(each.groups),
                    "pictures": [[p.id, p.label, p.group, p.image, p.foreground, p.outline] for p in each.pictures],
                }
                for each in self.sets
            ],
            "models": [
                {
                    "name": each.name,
                    "set": each.set,
                    "shows": each.shows,
                    "judged": [
                        [
                            *(j.predicted, round(j.probability, 4), round(j.probability_of_label, 4)),
                            *(None if v is None else round(v, 4) for v in (j.epg, j.area)),
                            j.mask,
                        ]
                        for j in each.judged
                    ],
                }
                for each in self.models
            ],
        }


def picture_of(
    identity: str, label: int, group: int, image: NDArray[np.uint8], foreground: NDArray[np.bool_] | None
) -> Picture:
    """Make the small files of an image.

    Args:
        identity: of the image.
        label: index of its class.
        group: index of its group, -1 where there is none.
        image: ``(H, W, 3)``.
        foreground: ``(H, W)``, or None where it is not known.
    """
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    thumbnail.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
    small, edge = "", ""
    if foreground is not None:
        resized = Image.fromarray(foreground.astype(np.uint8) * 255).resize(thumbnail.size, Image.Resampling.BILINEAR)
        inside = np.asarray(resized) > 127
        small, edge = _stencil(inside, (255, 255, 255)), _stencil(_edge(inside), OUTLINE)
    return Picture(identity, label, group, _text(jpeg), small, edge)


def mask_of(attribution: NDArray[np.floating[Any]], cells: bool) -> str:
    """Make the small file of a map.

    Args:
        attribution: ``(h, w)`` in [0, 1], on its own grid.
        cells: whether it extends to pixels by cells with sharp edges, rather than smoothly.
    """
    values = np.rint(np.clip(attribution, 0, 1) * 255).astype(np.uint8)
    if cells:
        factor = max(MASK_SIDE // max(values.shape), 1)
        values = values.repeat(factor, axis=0).repeat(factor, axis=1)
    opaque = Image.fromarray(values)
    if max(values.shape) > 2 * MASK_SIDE or not cells:
        opaque.thumbnail((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX)
    if set(np.unique(np.asarray(opaque)).tolist()) <= {0, 255}:
        return _stencil(np.asarray(opaque) > 0, (255, 255, 255))
    image = Image.merge("LA", (Image.new("L", opaque.size, 255), opaque))
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    return _text(png)


def _stencil(inside: NDArray[np.bool_], colour: tuple[int, int, int]) -> str:
    """Return a PNG of one bit a pixel that is transparent outside."""
    image = Image.fromarray(inside.astype(np.uint8))
    image.putpalette([0, 0, 0, *colour])
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True, bits=1, transparency=0)
    return _text(png)


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels inside that have a neighbour outside, or the border of the image."""
    padded = np.pad(inside, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge: NDArray[np.bool_] = inside & ~np.logical_and.reduce(neighbours)
    return edge


def _text(content: io.BytesIO) -> str:
    return base64.b64encode(content.getvalue()).decode("ascii")
