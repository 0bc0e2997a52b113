"""Sufficiency and comprehensiveness: is the region enough for the decision, and does the decision need it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.evaluation.attributions import OWN_MAPS
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.input_masking import (
    PATHS,
    SOURCES,
    Path,
    asked_part,
    chosen_paths,
    distinct_paths,
    input_maskings,
    maps_and_control,
    on_part,
)
from maskexp.evaluation.subsets import check_every
from maskexp.masking.inputs import Fill
from maskexp.metrics import Comprehensiveness, ProbabilityDrop, Sufficiency
from maskexp.metrics.functional.pixel_selection import validated_shares
from maskexp.metrics.functional.sufficiency import SHARES
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["SufficiencyAndComprehensiveness"]

SELECTED = {"sufficiency": Sufficiency, "comprehensiveness": Comprehensiveness}


class SufficiencyAndComprehensiveness(Evaluation):
    """Loss of probability of the predicted class with nothing but the top pixels, and without them.

    Keys are ``sufficiency/<hiding>/<path>`` (lower is better) and ``comprehensiveness/<hiding>/<path>`` (higher is
    better), means over several shares, for the method's own attribution, ``…_grad_cam`` for Grad-CAM and ``…_random``
    for random pixels. The paths are those of :class:`~maskexp.evaluation.Fidelity`; the class is the one that is
    predicted on the whole image on the same path.

    For fills there are soft versions too, in which the attribution itself is the mask, and which need no share:
    ``sufficiency/<hiding>/soft`` is what the deciding part loses when it sees ``S x + (1 - S) q``, and
    ``comprehensiveness/<hiding>/soft`` what the detector loses when it sees ``(1 - S) x + S q``, which are the two
    demands of COMET. A network without such parts plays both itself. The class is that of the network's decision.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        shares: of the pixels of an image (ERASER, quoted from memory: 1, 5, 10, 20 and 50 %).
        paths: ``predictor``, ``pipeline`` or both.
        every: judge only rows of the split that are a multiple of this; each takes ``6 × (shares + 1) × hiding``
            forward passes for a path.
        seed: of the random pixels, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("grey",),
        shares: Sequence[float] = SHARES,
        paths: Sequence[Path] = PATHS,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        self.hiding = input_maskings(hiding)
        self.shares, self.paths = validated_shares(shares), chosen_paths(paths)
        self.every, self.seed = every, seed
        self.selected, self.soft = nn.ModuleDict(), nn.ModuleDict()
        self.counted: dict[Path, Path] = {}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed."""
        self.counted = distinct_paths(self.paths, network)
        self.selected = nn.ModuleDict(
            {
                f"{question}/{hiding}/{path}{source}": metric(self.shares)
                for question, metric in SELECTED.items()
                for hiding in self.hiding
                for path in dict.fromkeys(self.counted.values())
                for source in SOURCES
            }
        )
        self.soft = nn.ModuleDict(
            {
                f"{question}/{name}/soft{source}": ProbabilityDrop()
                for question in SELECTED
                for name, hiding in self.hiding.items()
                if isinstance(hiding, Fill)
                for source in OWN_MAPS
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""
        decided = prediction.logits.argmax(dim=1)[batch["index"] % self.every == 0]
        batch, maps = maps_and_control(batch, prediction, self.every, self.seed)
        images = batch["image"]
        if not len(images):
            return
        for path in dict.fromkeys(self.counted.values()):
            part = asked_part(path, classifier.network)
            target = cast(Prediction, part(images)).logits.argmax(dim=1)
            for name, hiding in self.hiding.items():
                for question in SELECTED:
                    for source, attribution in maps.items():
                        metric = cast(Metric, self.selected[f"{question}/{name}/{path}{source}"])
                        metric.update(on_part(part, hiding), images, attribution, target)
        for name, hiding in self.hiding.items():
            if isinstance(hiding, Fill):
                self._count_soft(name, hiding, classifier.network, images, maps, decided)

    def compute(self) -> dict[str, Tensor]:
        """Return ``sufficiency/<hiding>/<path><source>``, ``…/soft<source>``, and the same of comprehensiveness."""
        values: dict[str, Tensor] = {}
        for question in SELECTED:
            for name in self.hiding:
                for path in self.paths:
                    for source in SOURCES:
                        key = f"{question}/{name}/{self.counted[path]}{source}"
                        values[f"{question}/{name}/{path}{source}"] = cast(Metric, self.selected[key]).compute()
        return values | {key: cast(Metric, metric).compute() for key, metric in self.soft.items()}

    def charts(self) -> list[Chart]:
        """Return the loss of probability over the share of pixels, one line a map."""
        found = []
        for question in SELECTED:
            for name in self.hiding:
                for path in self.paths:
                    lines = {}
                    for source, words in SOURCES.items():
                        metric = self.selected[f"{question}/{name}/{self.counted[path]}{source}"]
                        lines[words] = cast(Sufficiency | Comprehensiveness, metric).curve()[1].tolist()
                    shown = f"share of pixels, highest attribution first ({question}, {name}, {path})"
                    found.append(Chart(f"{question}/{name}_{path}", shown, "loss of probability", self.shares, lines))
        return found

    def _count_soft(
        self, name: str, hiding: Fill, network: Network, images: Tensor, maps: dict[str, Tensor], target: Tensor
    ) -> None:
        """Count what the deciding part loses under the mask, and the detector under its complement."""
        parts = {"sufficiency": network.plain_predictor, "comprehensiveness": network.plain_detector}
        for question, part in parts.items():
            whole = cast(Prediction, part(images)).logits
            for source in OWN_MAPS:
                mask = maps[source] if question == "sufficiency" else 1 - maps[source]
                masked = cast(Prediction, part(hiding.blend(images, mask))).logits
                cast(Metric, self.soft[f"{question}/{name}/soft{source}"]).update(whole, masked, target)
