"""Whether images that are alike to a network stay alike when it is shown less of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from maskexp.metrics.functional.fixed_point import SCALE, to_fixed_point
from maskexp.metrics.functional.inputs import check_finite, to_real

__all__ = ["SimilarityShift"]

UNIT = 2**24
"""Unit vectors are rounded to multiples of 1/UNIT: float32 holds these, and float64 any sum of their products."""
ROWS = 256
"""Images that are compared with all others at once."""


class SimilarityShift(Metric):
    r"""Mean absolute change of the cosine of two images' features, over all pairs of images and for each change.

    With the unit vectors :math:`u_i` of the reference and :math:`v_i` of a change, this is the mean of
    :math:`\lvert v_i \cdot v_j - u_i \cdot u_j \rvert` over :math:`i < j`. Features that are all 0 have a cosine of 0
    with any others.

    Pairs run across batches and ranks: unlike all other metrics here this one keeps something of every image, its
    ``(1 + changes)`` vectors of features as float32 (2048 features of 10 000 images and 8 changes: 0.7 GB).

    Args:
        changes: their number R.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023, released code ("concordance"),
        which compares each image with one other of its batch; all pairs are ours.

    Example:
        >>> metric = SimilarityShift(changes=2)
        >>> metric.update(torch.eye(2), torch.tensor([[[5.0, 0.0], [1.0, 0.0]], [[0.0, 5.0], [2.0, 0.0]]]))
        >>> {name: value.tolist() for name, value in metric.compute().items()}
        {'mean': [0.0, 1.0], 'n': 2}
    """

    is_differentiable = False
    full_state_update = False

    features: list[Tensor]
    width: Tensor

    def __init__(self, changes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.changes = changes
        # Flat, because torchmetrics sends a flat tensor for a rank that has seen nothing.
        self.add_state("features", [], dist_reduce_fx="cat")
        self.add_state("width", torch.ones((), dtype=torch.int64), dist_reduce_fx="max")

    def update(self, reference: Tensor, changed: Tensor) -> None:
        """Count a batch.

        Args:
            reference: ``(B, C)`` finite features.
            changed: ``(B, R, C)`` those of the same images after each change.
        """
        self.width.fill_(reference.shape[1])
        check_finite(changed, "features")
        check_finite(reference, "features")
        units = torch.nn.functional.normalize(to_real(torch.cat([reference[:, None], changed], dim=1)), dim=2)
        self.features.append(((units * UNIT).round() / UNIT).float().flatten())

    def compute(self) -> dict[str, Tensor]:
        """Return ``mean``, ``(R,)``, NaN for fewer than two images, and the number of images."""
        features = dim_zero_cat(self.features) if len(self.features) else torch.zeros(0, device=self.device)
        units = to_real(features).view(-1, 1 + self.changes, int(self.width))
        n, pairs = len(units), math.comb(len(units), 2)
        # Pairs grow with the square of n: their sum would not always fit into 64 bits, so Python's integers hold it.
        totals = [0] * self.changes
        for first in range(0, n, ROWS):
            cosines = torch.einsum("irc,jrc->rij", units[first : first + ROWS], units)
            later = torch.ones_like(cosines[0]).triu(diagonal=first + 1)
            shifts = to_fixed_point((cosines[1:] - cosines[0]).abs() * later).sum(dim=2)
            totals = [total + sum(row) for total, row in zip(totals, shifts.tolist(), strict=True)]
        mean = [total / (SCALE * pairs) if pairs else math.nan for total in totals]
        return {
            "mean": torch.tensor(mean, dtype=units.dtype, device=units.device),
            "n": torch.tensor(n, device=units.device),
        }
