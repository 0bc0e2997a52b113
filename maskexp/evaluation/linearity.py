"""Linearity: whether the features of several visible patches are the sum of those of each patch alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from maskexp.attribution.segments import Patches, segment_counts
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.hiding import require_passage
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.paired_comparisons import chart_of_rivals, results_of
from maskexp.evaluation.penultimate_features import PenultimateFeatures
from maskexp.evaluation.subsets import check_every, check_seed, check_some, every_nth
from maskexp.masking.inputs import create_input_maskings
from maskexp.metrics.functional.inputs import to_real
from maskexp.metrics.paired_comparison import PairedComparison
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Linearity"]

SCORES = {"residual": False, "cosine": True, "feature_norm": True}
"""Whether the highest value is the best; a norm is not compared, its win rate is not reported."""


class Linearity(Evaluation):
    r"""Compares the features of a union of patches with the sum of the features of each patch alone.

    With the features :math:`f` that the last linear layer sees, and :math:`f(S)` those of an image of which only the
    region *S* is visible, this gives, on average over the images,

    .. math:: \text{residual} = \frac{\lVert \sum_i f(S_i) - f(\bigcup_i S_i) \rVert}{\lVert f(\bigcup_i S_i) \rVert}

    the cosine of the two vectors, which does not see their lengths, and the norm of the second. A residual of 0 would
    be exact linearity. Layer masking pools over the visible positions alone, whose mean does not grow with their
    number: it cannot be linear in length, but it can be in direction.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        sizes: sides of the patches in pixels (Balasubramanian & Feizi: 32 and 16).
        patches: how many random patches (the same: 4).
        every: judge only rows of the split that are a multiple of this.
        seed: of the choice of patches, which depends on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible, or the network's logits come from no linear layer.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("black", "grey", "edge_smoothed", "layer"),
        sizes: Sequence[int] = (32, 16),
        patches: int = 4,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        check_seed(seed)
        check_some(sizes=sizes)
        if patches < 2:
            raise ValueError(f"patches is {patches}; a sum needs at least 2")
        self.hiding = create_input_maskings(hiding)
        self.segmenters = {f"patches{size}": Patches(size) for size in sizes}
        self.patches, self.every, self.seed = patches, every, seed
        self.comparisons = nn.ModuleDict()

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse images that have too few patches."""
        for name, patches in self.segmenters.items():
            whole = (spec.image_size[0] // patches.size) * (spec.image_size[1] // patches.size)
            if whole < self.patches:
                raise ValueError(
                    f"images of {spec.image_size} hold {whole} whole {name}, but Linearity adds up {self.patches} of "
                    "them; give smaller sizes"
                )
        require_passage("Linearity", network, self.hiding, spec.image_size)
        self.features = PenultimateFeatures(network)
        self.comparisons = nn.ModuleDict(
            {
                f"{segments}/{score}": PairedComparison(len(self.hiding), highest_wins=highest)
                for segments in self.segmenters
                for score, highest in SCORES.items()
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch; images whose features are all 0 in some way of hiding have no ratio and are left out."""
        batch = every_nth(batch, self.every)
        if not len(batch["label"]):
            return
        images = batch["image"]
        for name, segmenter in self.segmenters.items():
            visible = self._choose(segmenter(images), batch["index"])
            alone = [visible == i for i in range(1, self.patches + 1)]
            scores = []
            for hiding in self.hiding.values():
                together = to_real(self.features(hiding, images, visible > 0))
                parts = [to_real(self.features(hiding, images, one)) for one in alone]
                scores.append(_compare(torch.stack(parts).sum(dim=0), together))
            table = torch.stack(scores, dim=2)
            table = table[:, table[2].amin(dim=1) > 0]
            for row, score in zip(table, SCORES, strict=True):
                cast(PairedComparison, self.comparisons[f"{name}/{score}"]).update(row)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return means, and how often a way of hiding is the most linear.

        Returns:
            ``linearity/<patches>/<hiding>/residual``, ``…/cosine``, ``…/feature_norm``, ``…/residual_win_rate`` and
            ``…/cosine_win_rate``; ``linearity/<patches>/n``, the number of images.
        """
        values: dict[ResultKey, Tensor] = {}
        for key, result in results_of(self.comparisons).items():
            segments, score = key.split("/")
            values[ResultKey("linearity", f"{segments}/n")] = result["n"][0]
            for i, hiding in enumerate(self.hiding):
                values[ResultKey("linearity", f"{segments}/{hiding}/{score}")] = result["mean"][i]
                if score != "feature_norm":
                    values[ResultKey("linearity", f"{segments}/{hiding}/{score}_win_rate")] = result["win_rate"][i]
        return values

    def charts(self) -> list[Chart]:
        """Return residual and cosine for each size of patches."""
        results = results_of(self.comparisons)
        return [
            chart_of_rivals(
                f"linearity/{score}",
                (f"{self.patches} random patches", label),
                {segments: results[f"{segments}/{score}"]["mean"] for segments in self.segmenters},
                list(self.hiding),
            )
            for score, label in (("residual", "residual of the sum ↓"), ("cosine", "cosine of sum and union ↑"))
        ]

    def _choose(self, segments: Tensor, index: Tensor) -> Tensor:
        """Number the pixels of the chosen patches 1, 2, …, and all others 0, ``(B, 1, H, W)``."""
        numbers = torch.zeros(len(segments), int(segment_counts(segments).max()), dtype=torch.int64)
        full = torch.stack([torch.bincount(image, minlength=numbers.shape[1]) for image in segments.flatten(1).cpu()])
        for number, pixels, row in zip(numbers, full, index.tolist(), strict=True):
            whole = (pixels == pixels.max()).nonzero()[:, 0].numpy()  # not those that the border cuts
            drawn = np.random.default_rng([self.seed, row]).choice(whole, self.patches, replace=False)
            number[torch.from_numpy(drawn)] = torch.arange(1, self.patches + 1)
        chosen = numbers.to(segments.device).gather(1, segments.flatten(1))
        return chosen.view(segments.shape)[:, None]


def _compare(added: Tensor, together: Tensor) -> Tensor:
    """Return residual, cosine and norm of features ``(B, C)`` as ``(3, B)``."""
    norm = together.norm(dim=1)
    residual = (added - together).norm(dim=1) / torch.where(norm > 0, norm, 1)
    return torch.stack([residual, nn.functional.cosine_similarity(added, together, dim=1), norm])
