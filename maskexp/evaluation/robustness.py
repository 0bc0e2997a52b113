"""Robustness: accuracy and attribution when pixels are lost at random, or when the background changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from maskexp.attribution import DEFAULT_MAPS, require_maps, validated_maps
from maskexp.evaluation.attributions import image_size, maps_of
from maskexp.evaluation.base import Evaluation, ExplainableClassifier
from maskexp.evaluation.imagenet9_variants import ImageNet9Variants
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_seed
from maskexp.masking.inputs import Fill, create_input_masking
from maskexp.metrics import CONTROLS, GroupAccuracy, PixelAveragePrecision, control_attribution
from maskexp.metrics.functional import above_own_mean, kept_pixels
from maskexp.metrics.functional.pixel_selection import share_name
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["BackgroundRobustness", "NoiseRobustness"]

Reference = Literal["ground_truth", "clean"]
REFERENCES: tuple[Reference, ...] = get_args(Reference)
KEYS: dict[Reference, str] = {"ground_truth": "pxap", "clean": "pxap_vs_clean"}


class _Robustness(Evaluation):
    """Accuracy on disturbed images, and the average precision of their attributions against two references.

    Args:
        against: ``ground_truth``, the foreground; ``clean``, where the map of the clean image is above its own mean.
        maps: which maps are compared.
        seed: of the random control.
    """

    def __init__(self, against: Sequence[Reference], maps: Sequence[str], seed: int) -> None:
        super().__init__()
        if not set(against) <= set(REFERENCES):
            raise ValueError(f"maps are compared against {' and '.join(REFERENCES)}, not {list(against)}")
        check_seed(seed)
        self.against, self.seed = tuple(dict.fromkeys(against)), seed
        self.explaining = validated_maps(maps)
        self.accuracy: Metric = GroupAccuracy(0)
        self.precision = nn.ModuleDict()

    def create(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse to compare with foregrounds that are not there, or maps that cannot be."""
        require_maps(network, self.explaining)
        if "ground_truth" in self.against and spec.foreground == "none":
            name = type(self).__name__
            raise ValueError(
                f"{spec.name} has no foregrounds to compare attributions with; give {name} against: [clean]"
            )
        self.accuracy = GroupAccuracy(0)
        self.precision = nn.ModuleDict(
            {
                f"{reference}/{name}": PixelAveragePrecision()
                for reference in self.against
                for name in self.compared(reference)
            }
        )

    def compared(self, reference: Reference) -> tuple[str, ...]:
        """Return the names of the maps that are compared: against a clean map, the ground truth is no control."""
        controls = (control for control in CONTROLS if (reference, control) != ("clean", "ground_truth"))
        return (*self.explaining, *controls)

    def explained(self, classifier: ExplainableClassifier, batch: Batch) -> dict[str, Tensor]:
        """Return the maps of other images than those of the tested batch."""
        prediction = classifier.explain(batch["image"], batch["label"])
        return maps_of(classifier, batch, prediction, self.explaining)

    def count_maps(self, clean: dict[str, Tensor], disturbed: dict[str, Tensor], batch: Batch) -> None:
        """Count the maps of disturbed images, and the controls, against the references.

        Against clean maps each map is compared with itself, and the controls with the first of the maps, which is the
        method's own unless others are asked for.
        """
        foreground, known = batch["foreground"], batch["has_foreground"]
        maps = disturbed | {
            control: control_attribution(control, foreground, batch["index"], seed=self.seed) for control in CONTROLS
        }
        for reference in self.against:
            for name in self.compared(reference):
                metric = cast(Metric, self.precision[f"{reference}/{name}"])
                if reference == "ground_truth":
                    metric.update(maps[name], foreground, known)
                else:
                    metric.update(maps[name], above_own_mean(clean.get(name, clean[self.explaining[0]])))

    def values(self, evaluation: str, acc: str, ending: str = "") -> dict[ResultKey, Tensor]:
        """Return accuracy and average precisions; ``ending`` is what the names of the latter end with."""
        found = {ResultKey(evaluation, acc): cast(dict[str, Tensor], self.accuracy.compute())["acc"]}
        for reference in self.against:
            for name in self.compared(reference):
                value: Tensor = cast(Metric, self.precision[f"{reference}/{name}"]).compute()
                found[ResultKey(evaluation, f"{KEYS[reference]}{ending}", name)] = value
        return found


class NoiseRobustness(_Robustness):
    """Accuracy and attribution when pixels of the image are lost at random, all channels together.

    Keys are ``noise/acc_90``, the accuracy with 90 % of the pixels left, and of the attribution with 80 % left
    ``noise/pxap_80``, its pixel average precision against the foreground, and ``noise/pxap_vs_clean_80``, the same
    against the map of the clean image, binarised at its own mean; each also ``…_<map>`` for the other
    maps and the controls.

    Args:
        hiding: how lost pixels are painted, by name; a fill (COMET: 0 after normalisation, ``grey`` for ImageNet).
        keep_for_accuracy: probability with which a pixel stays (COMET, Table 2: 0.9).
        keep_for_attribution: the same for the attributions (COMET, Table 6: 0.8).
        against: what attributions are compared with: ``ground_truth`` (COMET's text), ``clean`` (its released code), or
            both.
        maps: which maps are compared: ``own`` and those registered in :mod:`maskexp.attribution`.
        seed: of the noise and of the random control, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        hiding: str = "grey",
        keep_for_accuracy: float = 0.9,
        keep_for_attribution: float = 0.8,
        against: Sequence[Reference] = REFERENCES,
        maps: Sequence[str] = DEFAULT_MAPS,
        seed: int = 0,
    ) -> None:
        super().__init__(against, maps, seed)
        fill = create_input_masking(hiding)
        if not isinstance(fill, Fill):
            raise ValueError(f"lost pixels have to be painted, and {hiding!r} is no fill; choose e.g. grey")
        if not 0 <= min(keep_for_accuracy, keep_for_attribution) <= max(keep_for_accuracy, keep_for_attribution) <= 1:
            raise ValueError(
                f"pixels stay with a probability in [0, 1], not {keep_for_accuracy}, {keep_for_attribution}"
            )
        self.fill = fill
        self.keep_for_accuracy, self.keep_for_attribution = keep_for_accuracy, keep_for_attribution

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse to compare with foregrounds that are not there."""
        self.create(spec, network)

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch; noisy images are explained for the labelled class, as clean ones are."""
        noisy = self._noisy(batch, self.keep_for_accuracy)
        self.accuracy.update(classifier(noisy).logits, batch["label"], torch.full_like(batch["label"], -1))
        disturbed: Batch = {**batch, "image": self._noisy(batch, self.keep_for_attribution)}
        clean = maps_of(classifier, batch, prediction, self.explaining)
        self.count_maps(clean, self.explained(classifier, disturbed), batch)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``noise/acc_<percent>`` and ``noise/pxap_<percent>`` of each map, percent of the pixels left."""
        left = share_name(self.keep_for_attribution)
        return self.values("noise", f"acc_{share_name(self.keep_for_accuracy)}", f"_{left}")

    def _noisy(self, batch: Batch, keep: float) -> Tensor:
        kept = kept_pixels(batch["index"], image_size(batch), keep, seed=self.seed)
        return self.fill.fill(batch["image"], kept)


class BackgroundRobustness(_Robustness):
    """Accuracy and attribution when ImageNet-9's foregrounds are shown on backgrounds of another class.

    Keys are ``mixed_next/acc``, ``mixed_next/pxap`` against the foreground, and ``mixed_next/pxap_vs_clean`` against
    the map of the original image of the same foreground, binarised at its own mean; each also ``…_<map>`` for the other
    maps and the controls. Whichever variant is tested, each of its rows brings the same row of ``original`` along, and
    the changed image of its foreground.

    Args:
        root: folder ``bg_challenge``, or the folder in which it lies.
        variant: the changed backgrounds (COMET, Table 6: ``mixed_next``).
        against: what attributions are compared with: ``ground_truth``, ``clean`` or both.
        maps: which maps are compared: ``own`` and those registered in :mod:`maskexp.attribution`.
        seed: of the random control.

    Raises:
        ValueError: if an argument is unknown.
    """

    def __init__(
        self,
        root: str,
        variant: str = "mixed_next",
        against: Sequence[Reference] = REFERENCES,
        maps: Sequence[str] = DEFAULT_MAPS,
        seed: int = 0,
    ) -> None:
        super().__init__(against, maps, seed)
        self.root, self.variant = root, variant

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Look the variants up and create the metrics; refuse any data but ImageNet-9."""
        self.variants = ImageNet9Variants(self.root, spec, "BackgroundRobustness", ("original", self.variant))
        self.create(spec, network)

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count the changed images of the foregrounds in the rows of this batch."""
        clean = self.variants.fetch("original", batch["index"])
        rows = self.variants.same_foreground("original", batch["index"], self.variant)
        changed = self.variants.fetch(self.variant, rows)
        explained = classifier.explain(changed["image"], changed["label"])
        self.accuracy.update(explained.logits, changed["label"], torch.full_like(changed["label"], -1))
        disturbed = maps_of(classifier, changed, explained, self.explaining)
        self.count_maps(self.explained(classifier, clean), disturbed, changed)

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``<variant>/acc`` and ``<variant>/pxap`` of each map."""
        return self.values(self.variant, "acc")
