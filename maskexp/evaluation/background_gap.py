"""BG-Gap: what the class of the background is worth to the classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.evaluation.base import Evaluation, ExplainableClassifier
from maskexp.evaluation.imagenet9_variants import ImageNet9Variants
from maskexp.evaluation.keys import ResultKey
from maskexp.metrics import BGGap
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["BackgroundGap"]

SAME, RAND = "mixed_same", "mixed_rand"


class BackgroundGap(Evaluation):
    """Accuracy on ImageNet-9's Mixed-Same minus accuracy on its Mixed-Rand.

    Keys are ``background/bg_gap``, ``background/acc_mixed_same`` and ``background/acc_mixed_rand``, and the numbers of
    images behind them. Whichever variant is tested, each of its rows brings the same row of these two along, so that
    one test of any variant covers both.

    Args:
        root: folder ``bg_challenge``, or the folder in which it lies.
    """

    def __init__(self, root: str) -> None:
        super().__init__()
        self.root = root

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Look the variants up; refuse any data but ImageNet-9."""
        self.variants = ImageNet9Variants(self.root, spec, "BackgroundGap", (SAME, RAND))
        self.gap = BGGap()

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count the images of both variants in the rows of this batch."""
        for variant in (SAME, RAND):
            fetched = self.variants.fetch(variant, batch["index"])
            foreign = torch.full_like(fetched["label"], variant == RAND, dtype=torch.bool)
            self.gap.update(classifier(fetched["image"]).logits, fetched["label"], foreign)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``background/<name>`` for all that :class:`~maskexp.metrics.BGGap` says."""
        return {ResultKey("background", name): value for name, value in self.gap.compute().items()}
