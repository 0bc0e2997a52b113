"""What evaluations share that hide pixels in the order of an attribution and look at what the classifier says then."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.attribution import map_title, require_maps, validated_maps
from maskexp.evaluation.attributions import maps_of
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_every, check_seed, every_nth
from maskexp.masking.inputs import InputMasking
from maskexp.metrics import control_attribution
from maskexp.metrics.functional.pixel_selection import Classify
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["PATHS", "Path", "Perturbation", "PixelPerturbation", "masked_classifier"]

Path = Literal["predictor", "pipeline"]
"""Who looks at the image from which pixels were removed: the deciding part alone, or the whole network anew."""
PATHS: tuple[Path, ...] = get_args(Path)
CONTROL: Literal["random"] = "random"


class Perturbation(NamedTuple):
    """Which pixels of an image are hidden, and how.

    Attributes:
        kind: what is done to the pixels that come first, e.g. ``insertion``.
        hiding: name of the input masking.
        masking: the input masking.
    """

    kind: str
    hiding: str
    masking: InputMasking


class PixelPerturbation(Evaluation):
    """Base of evaluations that hide pixels in the order of each map, and of a random one beside them.

    A subclass names its perturbations and makes a metric for each; what is counted is one metric for each perturbation,
    path and map.

    Args:
        perturbations: what is done to the images.
        maps: names of the maps that say which pixels come first.
        paths: ``predictor``, ``pipeline`` or both.
        every: judge only rows of the split that are a multiple of this.
        seed: of the random map, which depends on nothing else but the row.
        target: which class is followed: the labelled one, or the one that is predicted on the whole image on the same
            path.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        perturbations: Sequence[Perturbation],
        maps: Sequence[str],
        paths: Sequence[Path],
        every: int,
        seed: int,
        target: Literal["label", "predicted"] = "predicted",
    ) -> None:
        super().__init__()
        check_every(every)
        check_seed(seed)
        if not paths or not set(paths) <= set(PATHS):
            raise ValueError(f"paths are {', '.join(PATHS)}, at least one of them, not {list(paths)}")
        self.perturbations, self.target = tuple(perturbations), target
        self.explaining = validated_maps(maps)
        self.maps = (*self.explaining, CONTROL)
        self.paths: tuple[Path, ...] = tuple(dict.fromkeys(paths))
        self.every, self.seed = every, seed
        self.metrics = nn.ModuleDict()
        self.counted: dict[Path, Path] = {}

    # --- what an evaluation defines ------------------------------------------------------------------------------

    @abstractmethod
    def create_metric(self, kind: str) -> Metric:
        """Return a new metric, whose ``update`` takes ``(classify, images, attribution, target)``."""

    @abstractmethod
    def chart_of(self, perturbation: Perturbation, path: Path) -> Chart:
        """Return the chart of a perturbation and a path, one line a map (:meth:`lines`)."""

    def count_more(self, network: Network, batch: Batch, maps: dict[str, Tensor], decided: Tensor) -> None:
        """Count what else the evaluation asks of the chosen images; nothing unless it says so.

        Args:
            network: that is judged.
            batch: the chosen images, at least one.
            maps: all maps by name, in pixels.
            decided: ``(B,)`` class that the network predicts.
        """

    # --- counting ------------------------------------------------------------------------------------------------

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed. Both paths are one for a network without a deciding part."""
        require_maps(network, self.explaining)
        same = network.plain_predictor is network
        self.counted = {path: self.paths[0] if same else path for path in self.paths}
        self.metrics = nn.ModuleDict(
            {
                f"{perturbation.kind}/{perturbation.hiding}/{path}/{name}": self.create_metric(perturbation.kind)
                for perturbation in self.perturbations
                for path in self.counted_paths
                for name in self.maps
            }
        )

    @property
    def counted_paths(self) -> tuple[Path, ...]:
        """The paths that differ."""
        return tuple(dict.fromkeys(self.counted.values()))

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""
        chosen = every_nth(batch, self.every)
        images, network = chosen["image"], classifier.network
        if not len(images):
            return
        maps = maps_of(classifier, batch, prediction, self.explaining, self.every)
        everywhere = torch.ones_like(images[:, :1], dtype=torch.bool)
        maps[CONTROL] = control_attribution(CONTROL, everywhere, chosen["index"], seed=self.seed)
        for path in self.counted_paths:
            part = asked_part(path, network)
            target = chosen["label"]
            if self.target == "predicted":
                target = cast(Prediction, part(images)).logits.argmax(dim=1)
            for perturbation in self.perturbations:
                classify = masked_classifier(part, perturbation.masking)
                for name, attribution in maps.items():
                    self.metric(perturbation, path, name).update(classify, images, attribution, target)
        self.count_more(network, chosen, maps, prediction.logits.argmax(dim=1)[batch["index"] % self.every == 0])

    def metric(self, perturbation: Perturbation, path: Path, name: str) -> Metric:
        """Return the metric of a perturbation, a path and a map."""
        key = f"{perturbation.kind}/{perturbation.hiding}/{self.counted[path]}/{name}"
        return cast(Metric, self.metrics[key])

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``<kind>/<hiding>/<path>`` of each map."""
        return {
            ResultKey(each.kind, f"{each.hiding}/{path}", name): self.metric(each, path, name).compute()
            for each in self.perturbations
            for path in self.paths
            for name in self.maps
        }

    def charts(self) -> list[Chart]:
        """Return a chart for each perturbation and path."""
        return [self.chart_of(perturbation, path) for perturbation in self.perturbations for path in self.paths]

    def titles(self) -> dict[str, str]:
        """Return the names of the maps, and what a legend calls them."""
        return {name: map_title(name) for name in self.maps}


def asked_part(path: Path, network: Network) -> nn.Module:
    """Return what is shown the image."""
    return network.plain_predictor if path == "predictor" else network


def masked_classifier(part: nn.Module, masking: InputMasking) -> Classify:
    """Return ``(images, visible) -> logits`` of a part of a network for an input masking."""

    def classify(images: Tensor, visible: Tensor) -> Tensor:
        prediction: Prediction = masking(part, images, visible)
        return prediction.logits

    return classify
