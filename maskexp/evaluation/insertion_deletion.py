"""Insertion and deletion: how soon does the class appear, or vanish, in the order of the attribution?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.input_masking import (
    PATHS,
    SOURCES,
    Path,
    asked_part,
    chosen_paths,
    distinct_paths,
    maps_and_control,
    on_part,
)
from maskexp.evaluation.subsets import check_every
from maskexp.masking.inputs import create_input_masking
from maskexp.metrics import InsertionDeletion
from maskexp.metrics.functional.insertion_deletion import Direction, validated_steps
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["InsertionAndDeletion"]


class InsertionAndDeletion(Evaluation):
    """Area under the probability of the predicted class while pixels appear or vanish, highest attribution first.

    Keys are ``insertion/<hiding>/<path>`` (higher is better) and ``deletion/<hiding>/<path>`` (lower is better) for the
    method's own attribution, ``…_grad_cam`` for Grad-CAM and ``…_random`` for random pixels. The paths are those of
    :class:`~maskexp.evaluation.Fidelity`. The class is the one that is predicted on the whole image on the same path.

    Args:
        insertion: way of hiding what has not appeared yet, by name (RISE, released code: ``blur``).
        deletion: way of hiding what has vanished, by name (RISE: 0 after normalisation, which is ``grey`` for
            ImageNet).
        steps: equal steps from no pixel to all of them (RISE: 224 at 224 × 224 pixels; 32 is ours, a seventh of the
            price).
        paths: ``predictor``, ``pipeline`` or both.
        every: judge only rows of the split that are a multiple of this; each takes ``6 × (steps + 1)`` forward passes
            for a path.
        seed: of the random pixels, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        insertion: str = "blur",
        deletion: str = "grey",
        steps: int = 32,
        paths: Sequence[Path] = PATHS,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        self.names: dict[Direction, str] = {"insertion": insertion, "deletion": deletion}
        self.hiding = {direction: create_input_masking(name) for direction, name in self.names.items()}
        self.steps, self.paths = validated_steps(steps), chosen_paths(paths)
        self.every, self.seed = every, seed
        self.areas = nn.ModuleDict()
        self.counted: dict[Path, Path] = {}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed."""
        self.counted = distinct_paths(self.paths, network)
        self.areas = nn.ModuleDict(
            {
                f"{direction}/{path}{source}": InsertionDeletion(direction, self.steps)
                for direction in self.hiding
                for path in dict.fromkeys(self.counted.values())
                for source in SOURCES
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""
        batch, maps = maps_and_control(batch, prediction, self.every, self.seed)
        images = batch["image"]
        if not len(images):
            return
        for path in dict.fromkeys(self.counted.values()):
            part = asked_part(path, classifier.network)
            target = cast(Prediction, part(images)).logits.argmax(dim=1)
            for direction, hiding in self.hiding.items():
                classify = on_part(part, hiding)
                for source, attribution in maps.items():
                    self._metric(direction, path, source).update(classify, images, attribution, target)

    def compute(self) -> dict[str, Tensor]:
        """Return ``insertion/<hiding>/<path><source>`` and ``deletion/<hiding>/<path><source>``."""
        return {
            f"{direction}/{name}/{path}{source}": self._metric(direction, self.counted[path], source).compute()
            for direction, name in self.names.items()
            for path in self.paths
            for source in SOURCES
        }

    def charts(self) -> list[Chart]:
        """Return the mean probability over the fraction of pixels, one line a map, for each direction and path."""
        found = []
        for direction, name in self.names.items():
            for path in self.paths:
                lines = {s: self._metric(direction, self.counted[path], s).curve() for s in SOURCES}
                found.append(
                    Chart(
                        f"{direction}/{name}_{path}",
                        f"fraction of pixels, highest attribution first ({direction}, {name}, {path})",
                        "probability of the predicted class",
                        lines[""][0].tolist(),
                        {SOURCES[source]: line.tolist() for source, (_, line) in lines.items()},
                    )
                )
        return found

    def _metric(self, direction: Direction, path: Path, source: str) -> InsertionDeletion:
        return cast(InsertionDeletion, self.areas[f"{direction}/{path}{source}"])
