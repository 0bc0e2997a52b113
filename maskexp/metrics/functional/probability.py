"""Probability of one class, and how much of it is lost when a part of the image is hidden."""

from __future__ import annotations

from torch import Tensor

from maskexp.metrics.functional.inputs import to_real

__all__ = ["class_probability", "probability_drop"]


def probability_drop(whole: Tensor, masked: Tensor, target: Tensor) -> Tensor:
    r"""Compute the mean loss of probability of a class between two looks at the same images.

    .. math:: \text{drop} = \frac{1}{N} \sum_i \left(p_{c_i}(x_i) - p_{c_i}(\tilde x_i)\right)

    The range is [-1, 1]. With :math:`\tilde x` what the mask keeps, this is a soft *sufficiency*, lower is better; with
    :math:`\tilde x` what it leaves over, a soft *comprehensiveness* (completeness), higher is better. They are the two
    demands of COMET's objective, asked of its predictor and of its detector.

    Source: DeYoung et al. (2020, ERASER) with a soft mask instead of a selection of tokens; COMET (Zhang et al., ECCV
    2024), section 3, states the same two demands as entropies. The difference of probabilities is ours.

    Args:
        whole: ``(B, K)`` logits of the whole images.
        masked: ``(B, K)`` logits of the masked images.
        target: ``(B,)`` class whose probability is meant.

    Returns:
        A scalar; NaN where there is no image.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import torch
        >>> whole, masked = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.6, 0.4]]).log()
        >>> round(probability_drop(whole, masked, torch.tensor([0])).item(), 6)
        0.3
    """
    return drop_per_image(whole, masked, target).mean()


def drop_per_image(whole: Tensor, masked: Tensor, target: Tensor) -> Tensor:
    """Return the loss of probability of every image as ``(B,)``."""
    return class_probability(whole, target) - class_probability(masked, target)


def class_probability(logits: Tensor, target: Tensor) -> Tensor:
    """Return the softmax probability of each image's class, ``(B,)`` in the widest type of the device.

    Raises:
        ValueError: if the logits are not ``(B, K)`` or there is not one class for each image.

    Example:
        >>> import torch
        >>> class_probability(torch.tensor([[0.0, 0.0], [3.0, 3.0]]), torch.tensor([0, 1]))
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have to be (B, K) with one class each, but they are {tuple(logits.shape)} and the classes "
            f"{tuple(target.shape)}"
        )
    return to_real(logits).softmax(dim=1).gather(1, target[:, None])[:, 0]
