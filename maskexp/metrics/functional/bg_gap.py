"""BG-Gap: what a classifier loses when the background comes from another class."""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.metrics.functional.inputs import real_dtype

__all__ = ["bg_gap"]


def bg_gap(predicted: Tensor, label: Tensor, foreign: Tensor) -> dict[str, Tensor]:
    r"""Compute the background gap (BG-Gap) of ImageNet-9.

    .. math:: \text{BG-Gap} = \text{acc}(\text{mixed-same}) - \text{acc}(\text{mixed-rand})

    Both variants show the same foregrounds on foreign photographs, Mixed-Same on a background of the foreground's own
    class, Mixed-Rand on one of a random class. The range is [-1, 1]; 0 is a classifier that the background tells
    nothing.

    Source: Xiao et al. (2021, Noise or Signal), section 3.

    Args:
        predicted: ``(B,)`` class indices, or ``(B, K)`` scores of which the highest counts.
        label: ``(B,)`` class indices.
        foreign: ``(B,)`` bool, False for an image of Mixed-Same, True for one of Mixed-Rand.

    Returns:
        ``bg_gap``, ``acc_mixed_same`` and ``acc_mixed_rand``, NaN where a variant has no image; and the numbers of
        images ``n_mixed_same`` and ``n_mixed_rand`` (int64).

    Raises:
        ValueError: if shapes or types do not fit.

    Example:
        >>> predicted, label = torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 0, 1])
        >>> result = bg_gap(predicted, label, foreign=torch.tensor([False, False, True, True]))
        >>> {name: value.item() for name, value in result.items()}
        {'bg_gap': 0.5, 'acc_mixed_same': 1.0, 'acc_mixed_rand': 0.5, 'n_mixed_same': 2, 'n_mixed_rand': 2}
    """
    return gap_of_counts(*count_by_variant(predicted, label, foreign))


def count_by_variant(predicted: Tensor, label: Tensor, foreign: Tensor) -> tuple[Tensor, Tensor]:
    """Count correct and all images of both variants, int64 ``(2,)`` each."""
    predicted = predicted.argmax(dim=1) if predicted.ndim == 2 else predicted
    if foreign.dtype != torch.bool or not predicted.shape == label.shape == foreign.shape or label.ndim != 1:
        raise ValueError(
            f"predicted, label and the bool foreign have to be of one length, but are {tuple(predicted.shape)}, "
            f"{tuple(label.shape)} and {foreign.dtype} {tuple(foreign.shape)}"
        )
    wrong, correct = torch.bincount(foreign + 2 * (predicted == label), minlength=4).view(2, 2)
    return correct, wrong + correct


def gap_of_counts(correct: Tensor, total: Tensor) -> dict[str, Tensor]:
    """Return the gap, the two accuracies and the numbers of images by name from counts ``(2,)``."""
    same, rand = correct.to(real_dtype(correct.device)) / total
    accuracies = {"bg_gap": same - rand, "acc_mixed_same": same, "acc_mixed_rand": rand}
    return accuracies | {"n_mixed_same": total[0], "n_mixed_rand": total[1]}
