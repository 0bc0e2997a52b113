"""The maps that an evaluation judges, by name: the method's own, Grad-CAM and whatever else is registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from maskexp.attribution import add_attributions
from maskexp.evaluation.base import ExplainableClassifier
from maskexp.evaluation.subsets import every_nth
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["image_size", "maps_of", "require_foreground"]


def maps_of(
    classifier: ExplainableClassifier, batch: Batch, prediction: Prediction, maps: Sequence[str], every: int = 1
) -> dict[str, Tensor]:
    """Return maps of the labelled class by name, in pixels, ``(B, 1, H, W)`` float32.

    A map that the prediction lacks is computed, and kept in the prediction for the evaluations that follow.

    Args:
        classifier: that made the prediction.
        batch: images and truth.
        prediction: for all images of the batch.
        maps: names of maps.
        every: return the maps of rows of the split that are a multiple of this.

    Raises:
        ValueError: if the network has no features to compute a map from that needs them.
    """
    explained = prediction if every == 1 else _rows(prediction, batch["index"] % every == 0)
    chosen = every_nth(batch, every)
    add_attributions(explained, classifier.network, chosen["image"], chosen["label"], maps)
    return {name: cast(Tensor, explained.attribution_at(image_size(batch), name)) for name in maps}


def _rows(prediction: Prediction, rows: Tensor) -> Prediction:
    """Return logits, features and maps of some images, so that no map is computed for the others."""
    return Prediction(
        prediction.logits[rows],
        {name: values[rows] for name, values in prediction.attributions.items()},
        interpolation=prediction.interpolation,
        features=None if prediction.features is None else prediction.features[rows],
    )


def image_size(batch: Batch) -> tuple[int, int]:
    """Return height and width of the images."""
    return batch["image"].shape[-2], batch["image"].shape[-1]


def require_foreground(spec: DataSpec, question: str) -> None:
    """Refuse data without a foreground.

    Raises:
        ValueError: if there is none.
    """
    if spec.foreground == "none":
        raise ValueError(
            f"{question} compares attributions with foregrounds, and {spec.name} has none; leave {question} out, or "
            "give data with segmentations or boxes"
        )
