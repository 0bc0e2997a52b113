"""Energy pointing game: the share of positive attribution that falls on the foreground."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import batch_of_foregrounds, finite_maps, present_images, real_dtype

__all__ = ["energy_pointing_game"]

MINIMAL_ENERGY = 1e-7  # released code of Rao et al. (2023): less positive attribution than this is none


class EnergyPerImage(NamedTuple):
    """What one batch says, image by image; all ``(B,)``."""

    energy: Tensor  # share of positive attribution on the foreground, 0 where undefined
    area: Tensor  # share of pixels on the foreground
    usable: Tensor  # there is a foreground, and it does not cover (nearly) everything
    defined: Tensor  # there is positive attribution


def energy_pointing_game(
    attribution: Tensor,
    foreground: Tensor,
    has_foreground: Tensor | None = None,
    *,
    defined_only: bool = False,
    max_area: float = 1.0,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    r"""Compute the energy pointing game (EPG).

    With the attribution :math:`A` of one image, its positive part :math:`A^+ = \max(A, 0)` and the foreground
    :math:`M \in \{0, 1\}`:

    .. math:: \text{EPG} = \frac{\sum_{hw} M_{hw} A^+_{hw}}{\sum_{hw} A^+_{hw}}

    The range is [0, 1], higher is better, and the scale of the attribution does not matter. A constant map scores the
    area share of the foreground: an EPG says nothing unless that baseline stands beside it.

    Source: Rao et al. (2023, Studying How to Efficiently and Effectively Guide Models with Explanations), Eq. 2, after
    Wang et al. (2020, Score-CAM), who sum signed values. As in the released code of Rao et al., a map without positive
    attribution (less than 1e-7) scores 0 and counts, unless ``defined_only``. An image whose foreground is
    empty is left out; there it counts as 0, so that its mean is ours times the share of images with a foreground.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the foreground.
        foreground: bool, same size; the union of all masks or boxes of an image.
        has_foreground: ``(B,)`` bool, which images have a ground truth at all; all where not given.
        defined_only: leave images without positive attribution out of the mean.
        max_area: leave images out whose foreground covers a greater share of the pixels, such as boxes of nearly the
            whole image, where every map scores about 1. 1 leaves none out.
        reduction: ``mean`` over all images with a foreground that is neither absent, empty, nor too large (NaN where
            there is none); or ``none``, the ``(B,)`` values of all images.

    Raises:
        ValueError: if shapes or types do not fit, or the attribution is not finite.

    Example:
        >>> import torch
        >>> attribution = torch.tensor([[[1.0, 2.0, -3.0], [4.0, -5.0, 0.0], [0.0, 0.0, 3.0]]])
        >>> foreground = torch.zeros(1, 3, 3, dtype=torch.bool)
        >>> foreground[:, :2, :2] = True
        >>> round(energy_pointing_game(attribution, foreground).item(), 6)
        0.7
    """
    images = energy_per_image(attribution, foreground, has_foreground, max_area)
    if reduction == "none":
        return images.energy
    counted = images.usable & images.defined if defined_only else images.usable
    return images.energy[counted].mean()


def energy_per_image(
    attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None, max_area: float
) -> EnergyPerImage:
    """Compute energy and area share of every image of a batch, and which of them may enter a mean."""
    maps = finite_maps(attribution)
    foreground = batch_of_foregrounds(foreground, maps.shape)
    # One wide copy of the maps takes turns: fresh memory would take most of the time.
    pixels = maps.to(real_dtype(maps.device), copy=True).clamp_(min=0).flatten(1)
    total = pixels.sum(dim=1)
    defined = total >= MINIMAL_ENERGY
    inside = pixels.masked_fill_(~foreground.flatten(1), 0).sum(dim=1)
    area = pixels.copy_(foreground.flatten(1)).mean(dim=1)
    return EnergyPerImage(
        energy=torch.where(defined, inside / total.clamp(min=MINIMAL_ENERGY), 0.0),
        area=area,
        usable=present_images(has_foreground, foreground) & (area > 0) & (area <= max_area),
        defined=defined,
    )
