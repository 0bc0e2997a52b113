"""What all evaluations have in common: a question that is put to a trained classifier batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.evaluation.keys import ResultKey
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Chart", "Evaluation", "ExplainableClassifier"]


class ExplainableClassifier(Protocol):
    """The classifier that is judged; every :class:`~maskexp.methods.Method` is one."""

    @property
    def network(self) -> Network:
        """The network behind the predictions, in evaluation mode."""
        ...

    def __call__(self, images: Tensor) -> Prediction:
        """Return the prediction for images ``(B, 3, H, W)`` in [0, 1]."""
        ...

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Return the prediction with the attributions ``own`` and ``grad_cam``, the latter of ``target``."""
        ...


@dataclass(frozen=True)
class Chart:
    """What stands behind a number, for a figure and a table: lines over an axis, or groups of bars.

    Attributes:
        name: of the file, e.g. ``missingness/accuracy``.
        x_label: what the axis below is, with its unit.
        y_label: what the axis at the left is.
        x: the positions that all lines share, or the names of the groups of bars.
        series: by its name in the legend, the values of each line, or of the bar that it has in each group.

    Raises:
        ValueError: if a series has more or fewer values than there are positions.
    """

    name: str
    x_label: str
    y_label: str
    x: Sequence[float] | Sequence[str]
    series: Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        """Check the lengths."""
        for name, values in self.series.items():
            if len(values) != len(self.x):
                raise ValueError(f"{name!r} of {self.name} has {len(values)} values for {len(self.x)} positions")


class Evaluation(nn.Module, ABC):
    """One question asked of a trained classifier.

    Its arguments are plain values, so that a configuration can name it. All metrics exist after :meth:`prepare`, so
    that every rank reduces the same ones even if it has seen no batch; their states are sums (or, where pairs of images
    count, keep them all), so that any split into batches and ranks gives the same answer.

    Attributes:
        needs_validation: whether :meth:`calibrate` has to be called on the validation split before the test.
    """

    needs_validation: bool = False

    @abstractmethod
    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics for this data and network.

        Raises:
            ValueError: if the data or the network cannot be judged so, in one sentence that says why.
        """

    @abstractmethod
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch.

        Args:
            classifier: the classifier, for whatever else it has to be asked.
            batch: images and truth.
            prediction: ``classifier.explain(batch["image"], batch["label"])``, computed once for all evaluations.
        """

    @abstractmethod
    def compute(self) -> dict[ResultKey, Tensor]:
        """Return scalars by evaluation, metric and map, over every rank."""

    def charts(self) -> list[Chart]:
        """Return what should be plotted, over every rank; called after :meth:`compute`, before :meth:`reset`."""
        return []

    def calibrate(self) -> None:
        """Take from the validation split, which has just been counted, whatever a test must not choose on itself."""

    def reset(self) -> None:
        """Forget all batches."""
        for module in self.modules():
            if isinstance(module, Metric):
                module.reset()
