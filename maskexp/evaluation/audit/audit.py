"""The audit as a whole: five questions, put to a network on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskexp.attribution import require_maps, validated_maps
from maskexp.evaluation.audit.agreement import stability
from maskexp.evaluation.audit.findings import Finding, Resampling
from maskexp.evaluation.audit.hidden_influence import hidden_influence
from maskexp.evaluation.audit.mask_as_code import mask_as_code
from maskexp.evaluation.audit.questioning import Questioning
from maskexp.evaluation.audit.right_reasons import right_reasons
from maskexp.evaluation.audit.sample import Sample
from maskexp.evaluation.audit.sufficiency import sufficiency_and_completeness
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_seed
from maskexp.masking.inputs import INPUT_MASKING_NAMES, create_input_maskings
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

__all__ = ["EVERY_HIDING", "Audit", "AuditSettings", "audit_network"]

AS_IF_ABSENT = ("layer", "partial_convolution", "token_dropping")
LEAST_FOREIGN = ("grey", "mean", "edge_smoothed", "blur", "blur_rise", "noise", "black")
EVERY_HIDING = (
    *AS_IF_ABSENT,
    *LEAST_FOREIGN,
    *(name for name in INPUT_MASKING_NAMES if name not in AS_IF_ABSENT + LEAST_FOREIGN),
)
"""All ways of hiding: those that compute as if hidden pixels were not there come first."""


@dataclass(frozen=True)
class AuditSettings:
    """How the audit is made.

    Attributes:
        attribution: name of the map that counts as the mask: ``own`` is that of a network with masks, Grad-CAM of any
            other.
        threshold: of that map, in (0, 1): what lies above it counts as shown.
        hiding: ways of hiding, the most trusted first; those that the network has a layer against are left out.
        tolerance: share of decisions, or difference of accuracies, that is not held against the network (ours: 0.1).
        resamples: of the bootstrap.
        seed: of everything that is drawn.
        batch_size: images that are asked about at a time.

    Raises:
        ValueError: if a value is unknown or impossible.
    """

    attribution: str = OWN
    threshold: float = 0.5
    hiding: Sequence[str] = EVERY_HIDING
    tolerance: float = 0.1
    resamples: int = 1000
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Check the values."""
        validated_maps([self.attribution])
        create_input_maskings(self.hiding)
        for name in ("threshold", "tolerance"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}; it has to lie between 0 and 1")
        check_seed(self.seed)
        for name in ("resamples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be at least 1")

    def question(self, network: Network, sample: Batch) -> Questioning:
        """Return the network, ready to be asked about the sample.

        Raises:
            ValueError: if the map cannot explain it.
        """
        require_maps(network, [self.attribution])
        return Questioning(network, sample, self.attribution, self.threshold, self.batch_size)

    @property
    def interval(self) -> Resampling:
        """The bootstrap."""
        return Resampling(self.resamples, self.seed)


def audit_network(
    network: Network, sample: Batch, spec: DataSpec, settings: AuditSettings, asked: Questioning | None = None
) -> list[Finding]:
    """Put all questions to a network.

    Args:
        network: in evaluation mode, on the device of the sample.
        sample: images as bytes or in [0, 1], with what is known of them.
        spec: of the data.
        settings: see :class:`AuditSettings`.
        asked: the network and the sample, where they have been asked already.

    Returns:
        One finding for each question, in the order in which they are shown.
    """
    with torch.inference_mode(False), torch.no_grad():
        asked = asked or settings.question(network, sample)
        interval, tolerance, seed = settings.interval, settings.tolerance, settings.seed
        return [
            hidden_influence(asked, interval, tolerance, seed),
            mask_as_code(asked, interval, tolerance, seed, spec.num_classes),
            *sufficiency_and_completeness(asked, interval, tolerance, seed, settings.hiding),
            stability(asked, interval, seed),
            right_reasons(asked, interval, seed, spec),
        ]


class Audit(Evaluation):
    """Is the mask the reason for the decision, or does the mask itself carry the answer? Five parts, on a sample.

    Keys are ``audit/<part>`` for the number of a part, ``…_low`` and ``…_high`` for its 95 % bootstrap interval,
    ``…_control`` for its control, and ``audit/<part>/<detail>``; the parts and their details are explained in
    :mod:`maskexp.evaluation.audit`'s modules. ``maskexp audit`` prints the verdicts and compares several checkpoints.
    The audit runs once the whole split has been seen, in float32; under several processes each makes all of it.

    Args:
        images: how many images of the split are audited; which ones depends on the seed alone.
        attribution: name of the map that counts as the mask: ``own`` is that of a network with masks, Grad-CAM of any
            other.
        threshold: of that map, in (0, 1): what lies above it counts as shown.
        hiding: ways of hiding, the most trusted first.
        tolerance: share of decisions, or difference of accuracies, that is not held against the network (ours: 0.1).
        resamples: of the bootstrap.
        seed: of everything that is drawn.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        images: int = 500,
        attribution: str = OWN,
        threshold: float = 0.5,
        hiding: Sequence[str] = EVERY_HIDING,
        tolerance: float = 0.1,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if images < 1:
            raise ValueError(f"images is {images}; an audit needs at least 1")
        self.settings = AuditSettings(attribution, threshold, tuple(hiding), tolerance, resamples, seed)
        self.sample = Sample(images, seed)
        self.asked: tuple[DataSpec, Network] | None = None
        self.findings: list[Finding] = []

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Remember whom to ask; the network is no part of this evaluation."""
        self.asked = (spec, network)
        self.findings = []

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Keep the images that belong to the sample."""
        self.sample.update(batch)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Put the questions, and return numbers, intervals, controls and details."""
        if self.asked is None:
            raise ValueError("an Audit has to be prepared for a network before it is computed")
        spec, network = self.asked
        self.sample.stand_in(spec.image_size)
        sample: Batch | None = self.sample.compute()
        if sample is None:
            raise ValueError("Audit has seen no image of this split")
        self.findings = audit_network(network, _ordinary(sample), spec, self.settings)
        values: dict[ResultKey, Tensor] = {}
        for finding in self.findings:
            number = finding.number
            found = {"": number.value, "_low": number.low, "_high": number.high, "_control": finding.control.value}
            found |= {f"/{name}": estimate.value for name, estimate in finding.details.items()}
            device = sample["label"].device
            for name, value in found.items():
                values[ResultKey("audit", f"{finding.part}{name}")] = torch.tensor(value, device=device)
        return values

    def charts(self) -> list[Chart]:
        """Return each part's number beside its control."""
        parts = [finding for finding in self.findings if finding.number.n]
        series = {
            "network": [finding.number.value for finding in parts],
            "control": [finding.control.value for finding in parts],
        }
        names = [finding.part.replace("_", " ") for finding in parts]
        return [Chart("audit/parts", "part of the audit", "share", names, series)]

    def reset(self) -> None:
        """Forget the sample."""
        self.sample.reset()


def _ordinary(sample: Batch) -> Batch:
    """Return copies that gradients may pass through: Lightning collects batches in inference mode."""
    with torch.inference_mode(False):
        return {name: value.clone() for name, value in sample.items()}  # type: ignore[return-value, attr-defined]
