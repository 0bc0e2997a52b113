"""Pixel-perturbation fidelity over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.pixel_fidelity import (
    SHARES,
    Protocol,
    accuracy_by_share,
    correct_per_share,
    validated_protocol,
)
from maskexp.metrics.functional.pixel_selection import Classify, validated_shares

__all__ = ["PixelFidelity"]


class PixelFidelity(Metric):
    """Accuracy after the top share of pixels was hidden, or all but it, at several shares.

    Formula, range and source are those of :func:`maskexp.metrics.functional.pixel_fidelity`; read it beside the same
    metric of ``control_attribution("random", …)``.

    Args:
        shares: of the pixels of an image, each in [0, 1].
        protocol: ``remove`` the selected pixels, or ``keep`` nothing else.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if a share or the protocol is wrong.

    Example:
        >>> import torch
        >>> def classify(images, visible):  # a bright left pixel means class 1
        ...     return torch.stack([torch.full((len(images),), 0.5), (images * visible)[:, 0, 0, 0]], dim=1)
        >>> metric = PixelFidelity(shares=[0, 0.5])
        >>> metric.update(classify, torch.ones(1, 1, 1, 2), torch.tensor([[[0.9, 0.1]]]), torch.tensor([1]))
        >>> metric.update(classify, torch.ones(1, 1, 1, 2), torch.tensor([[[0.1, 0.9]]]), torch.tensor([1]))
        >>> {name: value.item() for name, value in metric.compute().items()}
        {'acc_removed_00': 1.0, 'acc_removed_50': 0.5}
    """

    is_differentiable = False
    full_state_update = False

    correct: Tensor
    total: Tensor

    def __init__(self, shares: Sequence[float] = SHARES, *, protocol: Protocol = "remove", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shares = validated_shares(shares)
        self.protocol = validated_protocol(protocol)
        self.add_state("correct", torch.zeros(len(self.shares), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether the pixels are kept."""
        return self.protocol == "keep"

    def update(self, classify: Classify, images: Tensor, attribution: Tensor, label: Tensor) -> None:
        """Add a batch.

        Args:
            classify: ``(images, visible) -> logits``, called once for each share, without gradients.
            images: ``(B, C, H, W)``, whatever ``classify`` takes.
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers, at the size of the images.
            label: ``(B,)`` class indices.
        """
        self.correct += correct_per_share(classify, images, attribution, label, self.shares, self.protocol)
        self.total += len(label)

    def compute(self) -> dict[str, Tensor]:
        """Return ``acc_removed_05`` or ``acc_kept_05`` for a share of 0.05, and so on; NaN where there is no image."""
        return accuracy_by_share(self.correct, self.total, self.shares, self.protocol)
