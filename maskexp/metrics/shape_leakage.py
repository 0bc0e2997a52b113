"""How much of its class an object leaves behind in the shape of the mask that hides it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.inputs import to_real

__all__ = ["ShapeLeakage"]


class ShapeLeakage(Metric):
    """Accuracy with the object hidden, beside that under a mask of the same area without the object's outline.

    Only images whose clean prediction is right belong here. Both masks hide as much, and only one has the silhouette;
    but they leave different parts of the background, and where that tells the class the two differ without any leak.

    Args:
        num_classes: classes K.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).

    Example:
        >>> metric = ShapeLeakage(num_classes=2)
        >>> metric.update(torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]), label=torch.tensor([0, 1, 1]))
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'acc_object': 0.667, 'acc_broken': 1.0, 'indicator': 0.667, 'n': 3}
    """

    is_differentiable = False
    full_state_update = False

    under_object: Tensor
    under_broken: Tensor
    count: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("under_object", "under_broken", "count"):
            self.add_state(state, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, object_hidden: Tensor, broken_hidden: Tensor, label: Tensor) -> None:
        """Count a batch.

        Args:
            object_hidden: ``(B,)`` int64 classes predicted with the object hidden.
            broken_hidden: ``(B,)`` int64 classes predicted with the broken mask hidden.
            label: ``(B,)`` int64.
        """
        classes = len(self.count)
        self.under_object += torch.bincount(label[object_hidden == label], minlength=classes)
        self.under_broken += torch.bincount(label[broken_hidden == label], minlength=classes)
        self.count += torch.bincount(label, minlength=classes)

    def compute(self) -> dict[str, Tensor]:
        """Return ``acc_object`` and ``acc_broken``; ``indicator``, their ratio; and ``n``, how many images counted.

        An indicator of 1 says that hiding the object costs no more than hiding as much of anything. It is NaN where
        ``acc_broken`` is 0.
        """
        under_object, under_broken, count = (
            state.sum() for state in (self.under_object, self.under_broken, self.count)
        )
        return _rates(under_object, under_broken, count) | {"n": count}

    def per_class(self, more_than: int = 10) -> dict[int, dict[str, Tensor]]:
        """Return the same for each class with more images than that (released code: 10); call it on all ranks."""
        with self.sync_context(should_sync=self.sync_on_compute):
            return {
                c: _rates(self.under_object[c], self.under_broken[c], self.count[c]) | {"n": self.count[c].clone()}
                for c in (self.count > more_than).nonzero()[:, 0].tolist()
            }


def _rates(under_object: Tensor, under_broken: Tensor, count: Tensor) -> dict[str, Tensor]:
    under_object, under_broken = to_real(under_object), to_real(under_broken)
    return {
        "acc_object": under_object / count,
        "acc_broken": under_broken / count,
        "indicator": torch.where(under_broken > 0, under_object / under_broken, torch.nan),
    }
