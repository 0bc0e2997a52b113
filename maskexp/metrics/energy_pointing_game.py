"""Energy pointing game over a data set, with the baseline of a constant map always at hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics.functional.energy_pointing_game import energy_per_image
from maskexp.metrics.functional.fixed_point import mean_of_fixed_point, to_fixed_point

__all__ = ["EnergyPointingGame"]


class EnergyPointingGame(Metric):
    """Mean energy pointing game (EPG): the share of positive attribution on the foreground, averaged over images.

    Formula, range and sources are those of :func:`maskexp.metrics.functional.energy_pointing_game`. Images whose
    foreground is absent or empty are skipped and counted. Images without positive attribution score 0 and are counted.

    ``compute`` returns the mean alone. Report :meth:`summary`, which sets the baseline beside it: what a constant map
    scores on the same images, that is, the mean area share of their foregrounds.

    Args:
        defined_only: leave images without positive attribution out of the mean (and out of the baseline).
        max_area: skip images whose foreground covers a greater share of the pixels than this; 1 skips none. Use 0.99
            for boxes, which may cover the whole image.
        **kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: if ``max_area`` is not in (0, 1].

    Example:
        >>> import torch
        >>> metric = EnergyPointingGame()
        >>> attribution = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[0.0, -1.0], [0.0, 0.0]]])
        >>> foreground = torch.tensor([[[False, True], [False, True]], [[True, True], [True, False]]])
        >>> metric.update(attribution, foreground)
        >>> metric.compute()
        tensor(0.3750, dtype=torch.float64)
        >>> {name: value.item() for name, value in metric.summary().items()}
        {'epg': 0.375, 'epg_baseline': 0.625, 'epg_images': 2, 'epg_undefined': 1, 'epg_skipped': 0}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    energy: Tensor
    area: Tensor
    count: Tensor
    undefined: Tensor
    skipped: Tensor

    def __init__(self, *, defined_only: bool = False, max_area: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < max_area <= 1:
            raise ValueError(f"max_area is a share of the image in (0, 1], not {max_area}")
        self.defined_only = defined_only
        self.max_area = max_area
        for state in ("energy", "area", "count", "undefined", "skipped"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attribution: Tensor, foreground: Tensor, has_foreground: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            attribution: ``(B, 1, H, W)`` or ``(B, H, W)``, any finite numbers.
            foreground: bool, same size.
            has_foreground: ``(B,)`` bool; all True where not given.
        """
        images = energy_per_image(attribution, foreground, has_foreground, self.max_area)
        counted = images.usable & images.defined if self.defined_only else images.usable
        self.energy += (to_fixed_point(images.energy) * counted).sum()
        self.area += (to_fixed_point(images.area) * counted).sum()
        self.count += counted.sum()
        self.undefined += (images.usable & ~images.defined).sum()
        self.skipped += (~images.usable).sum()

    def compute(self) -> Tensor:
        """Return the mean in [0, 1] as a scalar; NaN where no image counted."""
        return mean_of_fixed_point(self.energy, self.count)

    def summary(self) -> dict[str, Tensor]:
        """Return the mean, its baseline and the numbers of images behind them; call it on all ranks.

        Returns:
            ``epg``; ``epg_baseline``, the score of a constant map on the same images; ``epg_images``, how many the
            mean is over; ``epg_undefined``, how many had no positive attribution; ``epg_skipped``, how many had no
            foreground, an empty one, or one larger than ``max_area``.
        """
        with self.sync_context(should_sync=self.sync_on_compute):
            return {
                "epg": mean_of_fixed_point(self.energy, self.count),
                "epg_baseline": mean_of_fixed_point(self.area, self.count),
                "epg_images": self.count.clone(),
                "epg_undefined": self.undefined.clone(),
                "epg_skipped": self.skipped.clone(),
            }
