"""Pixel-perturbation fidelity: is the decision taken from the pixels that the attribution points at?"""

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
    input_maskings,
    maps_and_control,
    on_part,
    whole_images,
)
from maskexp.evaluation.subsets import check_every
from maskexp.metrics import PixelFidelity
from maskexp.metrics.functional.pixel_fidelity import Protocol, validated_protocol
from maskexp.metrics.functional.pixel_selection import share_name, validated_shares
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Fidelity"]

KEYS: dict[Protocol, str] = {"remove": "", "keep": "keep_"}


class Fidelity(Evaluation):
    """Accuracy after the pixels with the highest attribution were hidden, for each way of hiding and each path.

    Keys are ``fidelity/<hiding>/<path>/<percent>`` for the method's own attribution, ``…_grad_cam`` for Grad-CAM and
    ``…_random`` for random pixels. Lower is better where pixels are removed, *compared with the random ones*: a
    classifier that fails on any damaged picture has a low accuracy for every map. ``fidelity/<path>/00`` is the
    accuracy with nothing hidden.

    The path ``predictor`` shows the damaged picture to the deciding part alone
    (:attr:`~maskexp.models.network.Network.plain_predictor`), as the released code of COMET does: for a network whose
    predictor has only ever seen masked pictures this is not the decision that is explained. ``pipeline`` runs the whole
    network anew, selection included. For a network without such a part they are the same, and are counted once. Layer
    masking does not pass through the selector of COMET: ``paths: [predictor]`` leaves the other path out.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`); COMET paints the data's
            mean colour, which ``grey`` is for ImageNet.
        shares: of the pixels of an image (COMET: 5, 10 and 20 %).
        paths: ``predictor``, ``pipeline`` or both.
        protocols: ``remove`` the pixels, ``keep`` nothing else (DiET; keys ``…/keep_<percent>``, higher is better).
        every: judge only rows of the split that are a multiple of this; each takes ``3 × shares × hiding × protocols``
            forward passes for a path.
        seed: of the random pixels, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("grey",),
        shares: Sequence[float] = (0.05, 0.1, 0.2),
        paths: Sequence[Path] = PATHS,
        protocols: Sequence[Protocol] = ("remove",),
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        self.hiding = input_maskings(hiding)
        self.shares, self.paths = validated_shares(shares), chosen_paths(paths)
        self.protocols = tuple(dict.fromkeys(map(validated_protocol, protocols)))
        self.every, self.seed = every, seed
        self.perturbed, self.whole = nn.ModuleDict(), nn.ModuleDict()
        self.counted: dict[Path, Path] = {}

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed."""
        self.counted = distinct_paths(self.paths, network)
        counted = dict.fromkeys(self.counted.values())
        self.whole = nn.ModuleDict({path: PixelFidelity((0.0,)) for path in counted})
        self.perturbed = nn.ModuleDict(
            {
                f"{hiding}/{path}/{protocol}{source}": PixelFidelity(self.shares, protocol=protocol)
                for hiding in self.hiding
                for path in counted
                for protocol in self.protocols
                for source in SOURCES
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""
        batch, maps = maps_and_control(batch, prediction, self.every, self.seed)
        images, label = batch["image"], batch["label"]
        for path in dict.fromkeys(self.counted.values()):
            part = asked_part(path, classifier.network)
            self._metric(self.whole, path).update(whole_images(part), images, maps[""], label)
            for name, hiding in self.hiding.items():
                classify = on_part(part, hiding)
                for protocol in self.protocols:
                    for source, attribution in maps.items():
                        metric = self._metric(self.perturbed, f"{name}/{path}/{protocol}{source}")
                        metric.update(classify, images, attribution, label)

    def compute(self) -> dict[str, Tensor]:
        """Return ``fidelity/<path>/00`` and ``fidelity/<hiding>/<path>/<percent><source>``."""
        values = {
            f"fidelity/{path}/00": next(iter(self._metric(self.whole, counted).compute().values()))
            for path, counted in self.counted.items()
        }
        for hiding in self.hiding:
            for path in self.paths:
                for protocol in self.protocols:
                    found = {source: self._accuracies(hiding, path, protocol, source) for source in SOURCES}
                    for i, share in enumerate(self.shares):
                        for source, accuracies in found.items():
                            key = f"fidelity/{hiding}/{path}/{KEYS[protocol]}{share_name(share)}{source}"
                            values[key] = accuracies[i]
        return values

    def charts(self) -> list[Chart]:
        """Return the accuracy over the share of pixels, one line a map, for each way of hiding and path."""
        return [
            Chart(
                f"fidelity/{hiding}_{path}_{protocol}",
                f"share of pixels, highest attribution first, to {protocol} ({hiding}, {path})",
                "accuracy",
                self.shares,
                {
                    words: [value.item() for value in self._accuracies(hiding, path, protocol, source)]
                    for source, words in SOURCES.items()
                },
            )
            for hiding in self.hiding
            for path in self.paths
            for protocol in self.protocols
        ]

    def _accuracies(self, hiding: str, path: Path, protocol: Protocol, source: str) -> list[Tensor]:
        metric = self._metric(self.perturbed, f"{hiding}/{self.counted[path]}/{protocol}{source}")
        return list(metric.compute().values())

    @staticmethod
    def _metric(metrics: nn.ModuleDict, name: str) -> PixelFidelity:
        return cast(PixelFidelity, metrics[name])
