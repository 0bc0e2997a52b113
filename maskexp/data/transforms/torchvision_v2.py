"""A user's own torchvision v2 transforms: moving image and mask together, mixing batches, with draws of our own seeds.

The two places that touch what torchvision keeps private stand here, each with a test: AutoAugment and its kin refuse
masks (:class:`_AutoAugmentWithMask`), and the fill of a rotation would count as foreground (:func:`_prepared`).
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from maskexp.data.errors import DataError
from maskexp.data.transforms.geometry import SampleKey
from maskexp.types import Batch

__all__ = ["BatchMixing", "ImageAndMask"]

CONTAINERS = (v2.Compose, v2.RandomApply, v2.RandomChoice, v2.RandomOrder)
MIXING = (v2.MixUp, v2.CutMix)
AUTO_AUGMENT = (v2.AutoAugment, v2.RandAugment, v2.TrivialAugmentWide)
MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
"""Operations of AutoAugment and its kin that move pixels; the others change colours, which a mask has not."""
STREAMS = {"sample": 1, "batch": 2}
"""Further streams of draws beside those of the geometry, whose stream is 0."""
ALMOST = 1 - 1e-5


class ImageAndMask:
    """A torchvision v2 transform as a function of pixels and a key: the same key, the same draws, in any process.

    Args:
        transform: the transform; a copy of it is used.
        role: argument that it was given by, for messages.

    Raises:
        DataError: if it mixes batches instead of changing one image.
    """

    def __init__(self, transform: v2.Transform, role: str) -> None:
        for leaf in _leaves(transform):
            if isinstance(leaf, MIXING):
                raise DataError(
                    f"{type(leaf).__name__} mixes whole batches; give it as train_transform.mix, not {role}"
                )
        self.name, self.role = type(transform).__name__, role
        self.transform = _prepared(copy.deepcopy(transform))

    def __call__(self, pixels: Tensor, key: SampleKey) -> Tensor:
        """Return uint8 ``(C, h, w)`` of uint8 ``(C, H, W)``: RGB, and the soft mask where it came as fourth channel.

        Raises:
            DataError: if the transform cannot be applied, or leaves something that is no image and mask.
        """
        given = [tv_tensors.Image(pixels[:3]), *([tv_tensors.Mask(pixels[3:])] if len(pixels) == 4 else [])]
        try:
            with _seeded("sample", key), warnings.catch_warnings():
                # RandomErasing says for each image that it leaves the mask as it is, which is right: it hides.
                warnings.filterwarnings("ignore", ".*is currently passing through inputs of type.*")
                result = self.transform(*given)
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise self._refused(f"cannot be applied to a byte image and its mask: {error}") from error
        parts = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(parts) != len(given) or not all(isinstance(part, Tensor) and part.ndim == 3 for part in parts):
            raise self._refused("does not return image and mask as tensors")
        if len(parts[0]) != 3 or any(len(mask) != 1 or mask.shape[1:] != parts[0].shape[1:] for mask in parts[1:]):
            shapes = " and ".join(str(tuple(part.shape)) for part in parts)
            raise self._refused(f"returns shapes {shapes} instead of an RGB image and a mask of its size")
        image, *masks = (part.as_subclass(Tensor) for part in parts)
        return torch.cat([self._bytes(image), *(mask.to(torch.uint8) for mask in masks)])

    def _bytes(self, image: Tensor) -> Tensor:
        """Return an image as bytes; floats have to be in [0, 1], as torchvision means them."""
        if image.dtype == torch.uint8:
            return image
        low, high = (image.min().item(), image.max().item()) if image.is_floating_point() else (0.0, 0.0)
        if not -1e-3 <= low <= high <= 1 + 1e-3:
            raise self._refused(
                f"returns values from {low:.3g} to {high:.3g}; images stay in [0, 1], and networks normalise inside: "
                "omit Normalize"
            )
        image = image.clamp(0, 1) if image.is_floating_point() else image
        return cast(Tensor, F.to_dtype(image, torch.uint8, scale=True))

    def _refused(self, what: str) -> DataError:
        return DataError(f"{self.role}: {self.name} {what}")


class BatchMixing:
    """MixUp, CutMix, or a random choice of them, on batches of images and masks.

    Args:
        transform: the transform; a copy of it is used.

    Raises:
        DataError: if something else is in it.
    """

    def __init__(self, transform: v2.Transform) -> None:
        for leaf in _leaves(transform):
            if not isinstance(leaf, (*MIXING, v2.Identity)):
                raise DataError(
                    f"train_transform.mix takes MixUp and CutMix, alone or in RandomChoice or RandomApply; "
                    f"{type(leaf).__name__} changes single images: give it under train_transform.transforms"
                )
        self.transform = copy.deepcopy(transform)

    def check(self, num_classes: int) -> None:
        """Refuse a number of classes that is not the data's.

        Raises:
            DataError: if it differs.
        """
        for leaf in _leaves(self.transform):
            if getattr(leaf, "num_classes", None) not in (None, num_classes):
                raise DataError(
                    f"train_transform.mix: {type(leaf).__name__} has num_classes {leaf.num_classes}, but the data has "
                    f"{num_classes} classes; omit num_classes"
                )

    def __call__(self, batch: Batch, num_classes: int, key: SampleKey) -> Batch:
        """Mix the images and foregrounds of a batch and make its labels soft.

        The mixed foreground is where the mixed masks reach one half; it is known where both were. Attribute, group and
        index stay those of the image that lay in that place.

        Args:
            batch: image float ``(B, 3, H, W)`` in [0, 1].
            num_classes: K.
            key: seed, epoch and first index of the batch.

        Returns:
            The batch, with ``label`` float ``(B, K)``, non-negative and with sum 1.
        """
        image, foreground = batch["image"], batch["foreground"].to(batch["image"].dtype)
        known = batch["has_foreground"].to(image.dtype).view(-1, 1, 1, 1).expand_as(foreground)
        labels = one_hot(batch["label"], num_classes).to(image.dtype)
        with _seeded("batch", key):
            mixed, labels = self.transform(torch.cat([image, foreground, known], dim=1), labels)
        return {
            **batch,
            "image": mixed[:, :3].contiguous(),
            "foreground": mixed[:, 3:4] >= 0.5,
            "has_foreground": (mixed[:, 4] >= ALMOST).flatten(1).all(1),
            "label": labels,
        }


class _AutoAugmentWithMask(nn.Module):
    """AutoAugment, RandAugment or TrivialAugmentWide, which refuse masks: here the mask is moved as the image was."""

    def __init__(self, augment: v2.Transform) -> None:
        super().__init__()
        self.augment = augment

    def forward(self, image: Tensor, *masks: Tensor) -> Any:
        """Return the image, and the masks after those operations that move pixels."""
        augment: Any = self.augment
        apply, moves = augment._apply_image_or_video_transform, []

        def remember(image: Tensor, name: str, magnitude: float, **how: Any) -> Any:
            moves.append((name, magnitude, how))
            return apply(image, name, magnitude, **how)

        augment._apply_image_or_video_transform = remember
        try:
            moved = augment(image)
        finally:
            del augment._apply_image_or_video_transform
        for name, magnitude, how in moves:
            if name in MOVING:
                masks = tuple(apply(mask, name, magnitude, **(how | {"fill": {"others": 0}})) for mask in masks)
        return (moved, *masks) if masks else moved


def _prepared(transform: Any) -> Any:
    """Make a transform fit for masks: it fills their corners with background, and AutoAugment moves them."""
    if isinstance(transform, AUTO_AUGMENT):
        return _AutoAugmentWithMask(transform)
    if isinstance(fill := getattr(transform, "_fill", None), dict):
        fill.setdefault(tv_tensors.Mask, 0)
    if isinstance(transform, CONTAINERS):
        transform.transforms = [_prepared(inner) for inner in transform.transforms]
    return transform


def _leaves(transform: Any) -> Iterator[Any]:
    """Yield the transforms that are no containers of others."""
    if isinstance(transform, CONTAINERS):
        for inner in transform.transforms:
            yield from _leaves(inner)
    else:
        yield transform


@contextmanager
def _seeded(stream: str, key: SampleKey) -> Iterator[None]:
    """Seed the global generators of torch's CPU, Python and numpy by a key, and leave them as they were found.

    torchvision draws from torch's alone; a transform that users wrote may draw from the others.
    """
    seed, epoch, index = key
    words = np.random.Philox(counter=[STREAMS[stream], index, 0, 0], key=[seed, epoch]).random_raw(3).tolist()
    state, of_python, of_numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.default_generator.manual_seed(words[0] >> 1)
    random.seed(words[1])
    np.random.seed(words[2] >> 32)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(state)
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
