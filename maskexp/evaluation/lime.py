"""LIME with each way of hiding: which of them gives the better explanation of the same network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskexp.attribution import lime_weights, paint_segments, random_designs
from maskexp.attribution.segments import create_segmenter, segment_counts
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.hiding import require_passage
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.paired_comparisons import chart_of_rivals, results_of
from maskexp.evaluation.subsets import check_every, check_seed, check_some, every_nth, select, with_foreground
from maskexp.masking.inputs import create_input_masking, create_input_maskings
from maskexp.metrics.functional.inputs import real_dtype
from maskexp.metrics.paired_comparison import PairedComparison
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["LimeComparison", "alignment", "jaccard", "top_segments"]

ON_FOREGROUND = ("alignment", "jaccard")
ABLATED = ("ablation_acc", "ablation_probability")
IN_WORDS = {
    "alignment": "alignment ↑",
    "jaccard": "Jaccard ↑",
    "ablation_acc": "ablated accuracy ↓",
    "ablation_probability": "ablated probability ↓",
}


class LimeComparison(Evaluation):
    """Explains predictions by LIME with several ways of hiding, and compares the explanations.

    Each way of hiding judges the same perturbations. Explained is the labelled class of images that are classified
    right when nothing is hidden. An explanation is scored by

    * ``alignment``: cosine of the segments' weights and of how much foreground they hold, both as in the source;
    * ``jaccard``: overlap of the foreground and the union of the segments with the highest weights;
    * ``ablation_acc``: accuracy when these segments are hidden, and ``ablation_probability``, that of the label: lower
      is better, the explanation named what the network needs.

    The first two need foregrounds. Win rates are the share of images on which a way of hiding has the best score; of
    the ablations they are taken from the probability (ours), which has no ties.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        segments: by name (:func:`maskexp.attribution.segments.create_segmenter`; Balasubramanian & Feizi:
            ``patches16``, ``slic250``, ``quickshift2``).
        samples: perturbations of an image (the same: 512); each is a forward pass for each way of hiding.
        top: how many segments are ablated and compared with the foreground (the same: 20).
        ablation: how segments are hidden when an explanation is tested, by name; the same for all. The released code
            sets them to 0 behind the normalisation, which is ``grey`` for ImageNet's usual mean.
        every: judge only rows of the split that are a multiple of this.
        seed: of the perturbations, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("grey", "layer"),
        segments: Sequence[str] = ("patches16",),
        samples: int = 512,
        top: int = 20,
        ablation: str = "grey",
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        check_seed(seed)
        check_some(segments=segments)
        if samples < 2 or top < 1:
            raise ValueError(f"samples and top are {samples} and {top}; LIME needs at least 2 samples, and 1 segment")
        self.hiding = create_input_maskings(hiding)
        self.segmenters = {name: create_segmenter(name) for name in segments}
        self.samples, self.top, self.every, self.seed = samples, top, every, seed
        self.ablation_name, self.ablation = ablation, create_input_masking(ablation)
        self.comparisons = nn.ModuleDict()

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; without foregrounds there are the ablations alone."""
        require_passage("LimeComparison", network, {**self.hiding, self.ablation_name: self.ablation}, spec.image_size)
        names = ABLATED if spec.foreground == "none" else (*ON_FOREGROUND, *ABLATED)
        self.comparisons = nn.ModuleDict(
            {
                f"{segments}/{name}": PairedComparison(len(self.hiding), highest_wins=name in ON_FOREGROUND)
                for segments in self.segmenters
                for name in names
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Explain the images of a batch whose prediction is right, and score the explanations."""
        batch = every_nth(select(batch, prediction.logits.argmax(dim=1) == batch["label"]), self.every)
        if not len(batch["label"]):
            return
        for name, segmenter in self.segmenters.items():
            segments = segmenter(batch["image"])
            for score, values in self._scores(classifier.network, batch, segments).items():
                if f"{name}/{score}" in self.comparisons:
                    cast(PairedComparison, self.comparisons[f"{name}/{score}"]).update(values)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return means and win rates.

        Returns:
            ``lime/<segments>/<hiding>/<score>``; ``…/alignment_win_rate``, ``…/jaccard_win_rate`` and
            ``…/ablation_win_rate``; ``lime/n``, the images that were explained, and ``lime/n_foreground``, those of
            them with a foreground.
        """
        values: dict[ResultKey, Tensor] = {}
        for key, result in results_of(self.comparisons).items():
            segments, score = key.split("/")
            values[ResultKey("lime", "n_foreground" if score in ON_FOREGROUND else "n")] = result["n"][0]
            for i, hiding in enumerate(self.hiding):
                values[ResultKey("lime", f"{segments}/{hiding}/{score}")] = result["mean"][i]
                if score != "ablation_acc":
                    rate = f"{score.removesuffix('_probability')}_win_rate"
                    values[ResultKey("lime", f"{segments}/{hiding}/{rate}")] = result["win_rate"][i]
        return values

    def charts(self) -> list[Chart]:
        """Return, for each kind of segments, the mean scores, and the win rates of those that have one."""
        results = results_of(self.comparisons)
        charts = []
        for segments in self.segmenters:
            own = {key.split("/")[1]: result for key, result in results.items() if key.split("/")[0] == segments}
            means = {IN_WORDS[score]: result["mean"] for score, result in own.items()}
            rates = {IN_WORDS[score]: result["win_rate"] for score, result in own.items() if score != "ablation_acc"}
            below = f"LIME with {segments}"
            charts += [
                chart_of_rivals(f"lime/{segments}_scores", (below, "mean"), means, list(self.hiding)),
                chart_of_rivals(f"lime/{segments}_win_rates", (below, "share of images won"), rates, list(self.hiding)),
            ]
        return charts

    def _scores(self, network: Network, batch: Batch, segments: Tensor) -> dict[str, Tensor]:
        """Return each score as ``(B, ways of hiding)``; those on foregrounds of the images that have one."""
        images, label = batch["image"], batch["label"]
        designs = random_designs(segment_counts(segments), self.samples, batch["index"], self.seed)
        known = with_foreground(batch)
        scores: dict[str, list[Tensor]] = {}
        for hiding in self.hiding.values():
            weights = lime_weights(network, images, segments, hiding, label, designs=designs)
            weights = weights.to(images.device, real_dtype(images.device))
            chosen = top_segments(weights, segments, self.top)
            ablated: Prediction = self.ablation(network, images, ~chosen)
            probability = ablated.logits.float().softmax(dim=1).gather(1, label[:, None])[:, 0]
            found = {
                "alignment": alignment(weights[known], segments[known], batch["foreground"][known]),
                "jaccard": jaccard(chosen[known], batch["foreground"][known]),
                "ablation_acc": (ablated.logits.argmax(dim=1) == label).float(),
                "ablation_probability": probability,
            }
            for name, values in found.items():
                scores.setdefault(name, []).append(values)
        return {name: torch.stack(each, dim=1) for name, each in scores.items()}


def top_segments(weights: Tensor, segments: Tensor, top: int) -> Tensor:
    """Return the union of the segments with the highest weights, ``(B, 1, H, W)`` bool; all if there are no more.

    Args:
        weights: ``(B, S)``, S the largest number of segments; those beyond an image's own are ignored.
        segments: ``(B, H, W)`` int64.
        top: how many.
    """
    own = torch.arange(weights.shape[1], device=weights.device) < segment_counts(segments)[:, None]
    order = torch.where(own, weights, -torch.inf).argsort(dim=1, descending=True, stable=True)
    chosen = torch.zeros_like(own).scatter(1, order[:, :top], True)
    return paint_segments(chosen, segments)


def alignment(weights: Tensor, segments: Tensor, foreground: Tensor) -> Tensor:
    r"""Return the cosine of weights ``(B, S)`` and of the foreground that each segment holds, above the mean.

    With the foreground :math:`M` of one image, segment *s* holds :math:`g_s = \sum_{p \in s} (M_p - \bar M)`. The range
    is [-1, 1]; where all weights are 0, or the foreground is the whole image, it is 0.

    Args:
        weights: ``(B, S)``.
        segments: ``(B, H, W)`` int64.
        foreground: ``(B, 1, H, W)`` bool.
    """
    inside = foreground.flatten(1).to(weights.dtype)
    excess = inside - inside.mean(dim=1, keepdim=True)
    held = torch.zeros_like(weights).scatter_add(1, segments.flatten(1), excess)
    return nn.functional.cosine_similarity(weights, held, dim=1)


def jaccard(chosen: Tensor, foreground: Tensor) -> Tensor:
    """Return intersection over union of masks ``(B, 1, H, W)`` of which the second is not empty, ``(B,)``."""
    both, either = (mask.flatten(1).sum(dim=1) for mask in (chosen & foreground, chosen | foreground))
    return both / either
