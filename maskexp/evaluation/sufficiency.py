"""Sufficiency and comprehensiveness: is the region enough for the decision, and does the decision need it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.attribution import DEFAULT_MAPS
from maskexp.evaluation.base import Chart
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.pixel_perturbation import PATHS, Path, Perturbation, PixelPerturbation
from maskexp.masking.inputs import Fill, create_input_maskings
from maskexp.metrics import Comprehensiveness, ProbabilityDrop, Sufficiency
from maskexp.metrics.functional.pixel_selection import validated_shares
from maskexp.metrics.functional.sufficiency import SHARES
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["SufficiencyAndComprehensiveness"]

QUESTIONS: dict[str, type[Sufficiency | Comprehensiveness]] = {
    "sufficiency": Sufficiency,
    "comprehensiveness": Comprehensiveness,
}


class SufficiencyAndComprehensiveness(PixelPerturbation):
    """Loss of probability of the predicted class with nothing but the top pixels, and without them.

    Keys are ``sufficiency/<hiding>/<path>`` (lower is better) and ``comprehensiveness/<hiding>/<path>`` (higher is
    better), means over several shares, for the method's own attribution, ``…_<map>`` for the other maps and
    ``…_random`` for random pixels. The paths are those of :class:`~maskexp.evaluation.Fidelity`; the class is the one
    that is predicted on the whole image on the same path.

    For fills there are soft versions too, in which the attribution itself is the mask, and which need no share:
    ``sufficiency/<hiding>/soft`` is what the deciding part loses when it sees ``S x + (1 - S) q``, and
    ``comprehensiveness/<hiding>/soft`` what the detector loses when it sees ``(1 - S) x + S q``, which are the two
    demands of COMET. A network without such parts plays both itself. The class is that of the network's decision.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        shares: of the pixels of an image (ERASER, quoted from memory: 1, 5, 10, 20 and 50 %).
        paths: ``predictor``, ``pipeline`` or both.
        maps: which maps are judged: ``own`` and those registered in :mod:`maskexp.attribution`.
        every: judge only rows of the split that are a multiple of this; each takes
            ``2 × (maps + 1) × (shares + 1) × hiding`` forward passes for a path.
        seed: of the random pixels, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("grey",),
        shares: Sequence[float] = SHARES,
        paths: Sequence[Path] = PATHS,
        maps: Sequence[str] = DEFAULT_MAPS,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        maskings = create_input_maskings(hiding)
        perturbations = [Perturbation(kind, name, masking) for kind in QUESTIONS for name, masking in maskings.items()]
        super().__init__(perturbations, maps, paths, every, seed)
        self.shares = validated_shares(shares)
        self.soft = nn.ModuleDict()

    def create_metric(self, kind: str) -> Sufficiency | Comprehensiveness:
        """Return the loss of probability at each share."""
        return QUESTIONS[kind](self.shares)

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed."""
        super().prepare(spec, network)
        self.soft = nn.ModuleDict(
            {
                f"{kind}/{hiding}/{name}": ProbabilityDrop()
                for kind, hiding, masking in self.perturbations
                if isinstance(masking, Fill)
                for name in self.explaining
            }
        )

    def count_more(self, network: Network, batch: Batch, maps: dict[str, Tensor], decided: Tensor) -> None:
        """Count what the deciding part loses under the mask, and the detector under its complement."""
        images = batch["image"]
        parts = {"sufficiency": network.plain_predictor, "comprehensiveness": network.plain_detector}
        for kind, hiding, masking in self.perturbations:
            if isinstance(masking, Fill):
                whole = cast(Prediction, parts[kind](images)).logits
                for name in self.explaining:
                    mask = maps[name] if kind == "sufficiency" else 1 - maps[name]
                    masked = cast(Prediction, parts[kind](masking.blend(images, mask))).logits
                    cast(Metric, self.soft[f"{kind}/{hiding}/{name}"]).update(whole, masked, decided)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``sufficiency/<hiding>/<path>``, ``…/soft``, and the same of comprehensiveness, of each map."""
        soft = {
            ResultKey(kind, f"{hiding}/soft", name): cast(Metric, self.soft[f"{kind}/{hiding}/{name}"]).compute()
            for kind, hiding, masking in self.perturbations
            if isinstance(masking, Fill)
            for name in self.explaining
        }
        return super().compute() | soft

    def chart_of(self, perturbation: Perturbation, path: Path) -> Chart:
        """Return the loss of probability over the share of pixels."""
        kind, hiding, _ = perturbation
        return Chart(
            f"{kind}/{hiding}_{path}",
            f"share of pixels, highest attribution first ({kind}, {hiding}, {path})",
            "loss of probability",
            self.shares,
            {
                title: cast(Sufficiency, self.metric(perturbation, path, name)).curve()[1].tolist()
                for name, title in self.titles().items()
            },
        )
