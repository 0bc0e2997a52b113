"""Input maskings as rivals: results of :class:`~maskexp.metrics.paired_comparison.PairedComparison`, and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from maskexp.evaluation.base import Chart
from maskexp.metrics.paired_comparison import PairedComparison

__all__ = ["chart_of_rivals", "results_of"]


def results_of(comparisons: nn.ModuleDict) -> dict[str, dict[str, Tensor]]:
    """Return by name what each comparison says, ``mean`` and ``win_rate`` as ``(R,)``, ``n`` as ``(1,)``."""
    # torchmetrics makes a scalar of what has one element
    return {
        name: {key: value.reshape(-1) for key, value in cast(PairedComparison, comparison).compute().items()}
        for name, comparison in comparisons.items()
    }


def chart_of_rivals(name: str, labels: tuple[str, str], groups: Mapping[str, Tensor], rivals: Sequence[str]) -> Chart:
    """Return bars of all rivals, side by side in each group.

    Args:
        name: of the chart.
        labels: of the axis below and of the axis at the left.
        groups: ``(R,)`` values of the rivals, by the name of the group.
        rivals: their R names.
    """
    series = {rival: [values[i].item() for values in groups.values()] for i, rival in enumerate(rivals)}
    return Chart(name, *labels, list(groups), series)
