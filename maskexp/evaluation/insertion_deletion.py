"""Insertion and deletion: how soon does the class appear, or vanish, in the order of the attribution?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from maskexp.attribution import DEFAULT_MAPS
from maskexp.evaluation.base import Chart
from maskexp.evaluation.pixel_perturbation import PATHS, Path, Perturbation, PixelPerturbation
from maskexp.masking.inputs import create_input_masking
from maskexp.metrics import InsertionDeletion
from maskexp.metrics.functional.insertion_deletion import Direction, validated_steps

__all__ = ["InsertionAndDeletion"]


class InsertionAndDeletion(PixelPerturbation):
    """Area under the probability of the predicted class while pixels appear or vanish, highest attribution first.

    Keys are ``insertion/<hiding>/<path>`` (higher is better) and ``deletion/<hiding>/<path>`` (lower is better) for the
    method's own attribution, ``…_<map>`` for the other maps and ``…_random`` for random pixels. The paths are those of
    :class:`~maskexp.evaluation.Fidelity`. The class is the one that is predicted on the whole image on the same path.

    Args:
        insertion: way of hiding what has not appeared yet, by name (RISE, released code: ``blur_rise``; ``blur``
            has the same Gaussian without the reflections in RISE's kernel).
        deletion: way of hiding what has vanished, by name (RISE: 0 after normalisation, which is ``grey`` for
            ImageNet).
        steps: equal steps from no pixel to all of them (RISE: 224 at 224 × 224 pixels; 32 is ours, a seventh of the
            price).
        paths: ``predictor``, ``pipeline`` or both.
        maps: which maps are judged: ``own`` and those registered in :mod:`maskexp.attribution`.
        every: judge only rows of the split that are a multiple of this; each takes ``2 × (maps + 1) × (steps + 1)``
            forward passes for a path.
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
        maps: Sequence[str] = DEFAULT_MAPS,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        perturbations = [
            Perturbation(direction, name, create_input_masking(name))
            for direction, name in (("insertion", insertion), ("deletion", deletion))
        ]
        super().__init__(perturbations, maps, paths, every, seed)
        self.steps = validated_steps(steps)

    def create_metric(self, kind: str) -> InsertionDeletion:
        """Return the area under the curve of a direction."""
        return InsertionDeletion(cast(Direction, kind), self.steps)

    def chart_of(self, perturbation: Perturbation, path: Path) -> Chart:
        """Return the mean probability over the fraction of pixels."""
        kind, hiding, _ = perturbation
        curves = {
            title: cast(InsertionDeletion, self.metric(perturbation, path, name)).curve()
            for name, title in self.titles().items()
        }
        return Chart(
            f"{kind}/{hiding}_{path}",
            f"fraction of pixels, highest attribution first ({kind}, {hiding}, {path})",
            "probability of the predicted class",
            next(iter(curves.values()))[0].tolist(),
            {title: line.tolist() for title, (_, line) in curves.items()},
        )
