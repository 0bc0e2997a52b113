"""Concordance: whether images relate to each other as before when each is shrunk and all around it is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.hiding import require_passage
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.penultimate_features import PenultimateFeatures
from maskexp.evaluation.subsets import check_every, check_some, every_nth
from maskexp.masking.inputs import create_input_maskings
from maskexp.metrics.similarity_shift import SimilarityShift
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Concordance", "shrunk"]


class Concordance(Evaluation):
    """Shrinks each image into the upper left corner, hides the rest, and follows the similarities between images.

    If what is hidden were missing, two images that are alike to the network would stay alike however much emptiness
    surrounds them. With the cosine of the features that the last linear layer sees, this gives its mean absolute change
    over all pairs of images, at each scale. 0 is best.

    Fewer pixels also change the features by themselves; compare ways of hiding at one scale, not scales.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        scales: of the shrunk sides, each in (0, 1) (Balasubramanian & Feizi: 200, 128, 64 and 32 of 224
            pixels, which the defaults give but for one or two).
        every: judge only rows of the split that are a multiple of this; the features of each image are kept until the
            end, and pairs grow with their square.

    Raises:
        ValueError: if an argument is unknown or impossible, or the network's logits come from no linear layer.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023, released code. There, layer
        masking is given the whole image and shows its corner, while the others see it shrunk, and each image is paired
        with one other of its batch; here all see the same, and each image is paired with all others of the split.
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("black", "grey", "edge_smoothed", "layer"),
        scales: Sequence[float] = (0.9, 0.57, 0.29, 0.14),
        every: int = 1,
    ) -> None:
        super().__init__()
        check_every(every)
        check_some(scales=scales)
        if not all(0 < scale < 1 for scale in scales):
            raise ValueError(f"scales are {list(scales)}; each must be larger than 0 and smaller than 1")
        self.hiding = create_input_maskings(hiding)
        self.scales, self.every = tuple(scales), every
        self.shifts = nn.ModuleDict()

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse ways of hiding that the network does not let pass."""
        require_passage("Concordance", network, self.hiding, spec.image_size)
        self.features = PenultimateFeatures(network)
        self.shifts = nn.ModuleDict({name: SimilarityShift(len(self.scales)) for name in self.hiding})

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Keep the features of a batch; the prediction is not needed."""
        images = every_nth(batch, self.every)["image"]
        if not len(images):
            return
        smaller = [shrunk(images, scale) for scale in self.scales]
        for name, hiding in self.hiding.items():
            whole = self.features(hiding, images, torch.ones_like(images[:, :1], dtype=torch.bool))
            alone = [self.features(hiding, *one) for one in smaller]
            cast(SimilarityShift, self.shifts[name]).update(whole, torch.stack(alone, dim=1))

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return mean changes of the cosine.

        Returns:
            ``concordance/<hiding>/<scale in percent>`` and ``concordance/<hiding>``, the mean over the scales;
            ``concordance/n``, the number of images.
        """
        values: dict[ResultKey, Tensor] = {}
        for name, metric in self.shifts.items():
            result = cast(SimilarityShift, metric).compute()
            values[ResultKey("concordance", "n")] = result["n"]
            values[ResultKey("concordance", name)] = result["mean"].mean()
            for scale, mean in zip(self.scales, result["mean"].reshape(-1), strict=True):
                values[ResultKey("concordance", f"{name}/{100 * scale:g}")] = mean
        return values

    def charts(self) -> list[Chart]:
        """Return the change over the scale, one line a way of hiding."""
        values = self.compute()
        series = {
            name: [values[ResultKey("concordance", f"{name}/{100 * scale:g}")].item() for scale in self.scales]
            for name in self.hiding
        }
        return [
            Chart("concordance/change", "side of the shrunk image", "mean change of the cosine ↓", self.scales, series)
        ]


def shrunk(images: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Shrink images ``(B, 3, H, W)`` into the upper left corner of black ones, and mark it, ``(B, 1, H, W)`` bool."""
    height, width = (max(round(scale * side), 1) for side in images.shape[-2:])
    smaller, visible = torch.zeros_like(images), torch.zeros_like(images[:, :1], dtype=torch.bool)
    shrink = nn.functional.interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)
    smaller[..., :height, :width] = shrink.clamp(0, 1)
    visible[..., :height, :width] = True
    return smaller, visible
