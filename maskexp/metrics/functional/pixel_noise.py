"""Pixels that are dropped at random, and a clean map as the reference of a disturbed one."""

from __future__ import annotations

from torch import Tensor

from maskexp.metrics.functional.draws import uniform_maps
from maskexp.metrics.functional.inputs import batch_of_maps

__all__ = ["above_own_mean", "kept_pixels"]

STREAM = 0x6E6F6973  # keeps these draws apart from those of the random control with the same seed


def kept_pixels(index: Tensor, size: tuple[int, int], keep: float, *, seed: int = 0) -> Tensor:
    """Draw which pixels survive pixel noise, each with the same probability, all channels together.

    The draw depends on ``seed`` and the image's ``index`` alone, neither on batches nor on ranks nor on the device. At
    a lower ``keep`` the same pixels vanish and more.

    Source: COMET (Zhang et al., ECCV 2024) keeps 0.9 for accuracies and 0.8 for attributions, and sets the others to 0
    after normalisation, the mean colour; its seed is not published.

    Args:
        index: ``(B,)`` int64, the row of each image in its data set.
        size: (height, width) of the images.
        keep: probability in [0, 1] with which a pixel stays.
        seed: of the draw.

    Returns:
        ``(B, 1, H, W)`` bool, True = keep.

    Raises:
        ValueError: if ``keep`` is outside [0, 1].

    Example:
        >>> import torch
        >>> kept = kept_pixels(torch.arange(8), (224, 224), keep=0.8)
        >>> abs(kept.float().mean().item() - 0.8) < 0.002
        True
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"keep is a probability in [0, 1], not {keep}")
    return uniform_maps(index, size, STREAM, seed) < keep


def above_own_mean(attribution: Tensor) -> Tensor:
    """Binarise each map at its own mean: the reference when a map is compared with itself.

    Source: released code of COMET, which scores the map of a disturbed image by its pixel average precision against
    this binarisation of the map of the clean image. A constant map selects nothing.

    Args:
        attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers.

    Returns:
        ``(B, 1, H, W)`` bool, True where the map is above its mean.

    Raises:
        ValueError: if the attribution is of another shape or not finite.

    Example:
        >>> import torch
        >>> above_own_mean(torch.tensor([[[0.0, 0.2], [0.3, 1.0]]]))
        tensor([[[[False, False],
                  [False,  True]]]])
    """
    maps = batch_of_maps(attribution)[:, None]
    return maps > maps.mean(dim=(2, 3), keepdim=True)
