"""Mask-shape leakage: whether the outline of what was hidden gives the class away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.hiding import require_passage
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_every, every_nth, select, with_foreground
from maskexp.masking.inputs import create_input_maskings
from maskexp.metrics.shape_leakage import ShapeLeakage
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["MaskLeakage", "broken"]

REFERENCE = "layer"


class MaskLeakage(Evaluation):
    """Hides the object, and as a control the same mask with its quadrants swapped, which has no outline of the object.

    Counted are images with a foreground whose prediction is right when nothing is hidden. Where a network is nearly as
    good under the object's mask as under the broken one, the silhouette, or what stands around the object, gives the
    class away. A background that goes with the class does so under every way of hiding; what a colour gives away beyond
    layer masking is the silhouette's, or that of a fill that pushes every image towards one class: look at each class.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        every: judge only rows of the split that are a multiple of this.
        more_than: report a class alone if it has more images than this (released code: 10).

    Raises:
        ValueError: if an argument is unknown or impossible.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023 (released code).
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("black", "grey", "edge_smoothed", REFERENCE),
        every: int = 1,
        more_than: int = 10,
    ) -> None:
        super().__init__()
        check_every(every)
        self.hiding = create_input_maskings(hiding)
        self.every, self.more_than = every, more_than
        self.leakage = nn.ModuleDict()
        self.class_names: tuple[str, ...] = ()

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse data without foregrounds."""
        if spec.foreground == "none":
            raise ValueError(f"{spec.name} has no foregrounds, so that MaskLeakage does not know what the object is")
        require_passage("MaskLeakage", network, self.hiding, spec.image_size)
        self.class_names = spec.class_names
        self.leakage = nn.ModuleDict({name: ShapeLeakage(spec.num_classes) for name in self.hiding})

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count the images of a batch whose prediction is right."""
        right = prediction.logits.argmax(dim=1) == batch["label"]
        known = with_foreground(batch)
        batch = every_nth(select(batch, right & known), self.every)
        if not len(batch["label"]):
            return
        for name, hiding in self.hiding.items():
            under_object, under_broken = (
                cast(Prediction, hiding(classifier.network, batch["image"], ~hidden)).logits.argmax(dim=1)
                for hidden in (batch["foreground"], broken(batch["foreground"]))
            )
            cast(ShapeLeakage, self.leakage[name]).update(under_object, under_broken, batch["label"])

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return what each way of hiding leaks, over all images and for each class with enough of them.

        Returns:
            ``mask_leakage/<hiding>/acc_object``, ``…/acc_broken``, ``…/indicator`` (their ratio) and, where layer
            masking is among the ways of hiding, ``…/over_layer``, its ``acc_object`` less that of layer masking; the
            first three also as ``…/<quantity>/<class>``; ``mask_leakage/n``, the number of images.
        """
        computed = {name: cast(ShapeLeakage, metric).compute() for name, metric in self.leakage.items()}
        values: dict[ResultKey, Tensor] = {}
        for name, metric in self.leakage.items():
            result = dict(computed[name])
            values[ResultKey("mask_leakage", "n")] = result.pop("n")
            if REFERENCE in computed and name != REFERENCE:
                result["over_layer"] = result["acc_object"] - computed[REFERENCE]["acc_object"]
            for number, of_class in cast(ShapeLeakage, metric).per_class(self.more_than).items():
                values[ResultKey("mask_leakage", f"n/{self.class_names[number]}")] = of_class.pop("n")
                result |= {f"{key}/{self.class_names[number]}": value for key, value in of_class.items()}
            values |= {ResultKey("mask_leakage", f"{name}/{key}"): value for key, value in result.items()}
        return values

    def charts(self) -> list[Chart]:
        """Return the two accuracies of each way of hiding."""
        computed = [cast(ShapeLeakage, metric).compute() for metric in self.leakage.values()]
        series = {
            "object hidden": [result["acc_object"].item() for result in computed],
            "broken mask hidden": [result["acc_broken"].item() for result in computed],
        }
        return [Chart("mask_leakage/accuracy", "hidden by", "accuracy", list(self.hiding), series)]


def broken(mask: Tensor) -> Tensor:
    """Swap the quadrants of masks ``(B, 1, H, W)``: the same area without the silhouette."""
    return mask.roll((mask.shape[-2] // 2, mask.shape[-1] // 2), dims=(-2, -1))
