"""What becomes of predictions as more and more of each image is hidden."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point
from maskexp.metrics.functional.inputs import to_real
from maskexp.metrics.functional.missingness import class_entropy

__all__ = ["MissingnessCurve"]


class MissingnessCurve(Metric):
    """Accuracy, class entropy, unchanged predictions and similarity to the label at each removed fraction.

    The states are the histogram of predictions and counts, so that the entropy is that of all images together.

    Args:
        num_classes: classes K.
        steps: number of removed fractions S.
        similarity: ``(K, K)``, how alike class ``[predicted, label]`` is, e.g. in WordNet; None to leave it out.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Source:
        Jain et al., ICLR 2022; Balasubramanian & Feizi, ICCV 2023 (released code).

    Example:
        >>> metric = MissingnessCurve(num_classes=3, steps=2)
        >>> metric.update(torch.tensor([[0, 1], [2, 1]]), torch.tensor([0, 1]), label=torch.tensor([0, 2]))
        >>> {name: value.tolist() for name, value in metric.compute().items() if name != "class_entropy"}
        {'acc': [0.5, 0.0], 'unchanged': [1.0, 0.5]}
    """

    is_differentiable = False
    full_state_update = False

    predictions: Tensor
    correct: Tensor
    unchanged: Tensor
    alike: Tensor
    count: Tensor

    def __init__(self, num_classes: int, steps: int, similarity: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if similarity is not None and similarity.shape != (num_classes, num_classes):
            raise ValueError(
                f"{num_classes} classes need a similarity matrix of as many rows and columns, not "
                f"{tuple(similarity.shape)}"
            )
        self.similarity = similarity
        self.add_state("predictions", torch.zeros(steps, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        for state in ("correct", "unchanged", "alike"):
            self.add_state(state, torch.zeros(steps, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, reference: Tensor, label: Tensor) -> None:
        """Count a batch.

        Args:
            predicted: ``(S, B)`` int64 classes predicted at each removed fraction.
            reference: ``(B,)`` int64 classes predicted with nothing removed.
            label: ``(B,)`` int64.
        """
        steps, classes = self.predictions.shape
        place = predicted + classes * torch.arange(steps, device=predicted.device)[:, None]
        self.predictions += torch.bincount(place.flatten(), minlength=steps * classes).view(steps, classes)
        self.correct += (predicted == label).sum(dim=1)
        self.unchanged += (predicted == reference).sum(dim=1)
        if self.similarity is not None:
            alike = self.similarity.cpu()[predicted.cpu(), label.cpu()]
            self.alike += to_fixed_point(alike).sum(dim=1).to(self.alike.device)
        self.count += len(label)

    def compute(self) -> dict[str, Tensor]:
        """Return ``acc``, ``class_entropy``, ``unchanged`` and, with a matrix, ``similarity``, each ``(S,)``.

        They are NaN before the first image.
        """
        values = {
            "acc": to_real(self.correct) / self.count,
            "class_entropy": class_entropy(self.predictions),
            "unchanged": to_real(self.unchanged) / self.count,
        }
        if self.similarity is not None:
            values["similarity"] = mean_of_fixed_point(self.alike, self.count)
        return values
