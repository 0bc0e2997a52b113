"""The maps that every evaluation judges: the method's own and Grad-CAM, beside controls that know nothing."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from maskexp.types import Batch, DataSpec, Prediction, resize_map

__all__ = ["OWN_MAPS", "image_size", "maps_of", "require_foreground"]

OWN_MAPS = ("", "_grad_cam")
"""Suffixes of the keys for the method's own attribution and for Grad-CAM, which is the same map for every method."""


def maps_of(prediction: Prediction, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the method's own attribution and Grad-CAM by :data:`OWN_MAPS`, in pixels, ``(B, 1, H, W)`` float32.

    Raises:
        ValueError: if the prediction has none.
    """
    own, cam = prediction.attribution_at(size), prediction.extras.get("grad_cam")
    if own is None or cam is None:
        raise ValueError(
            "the prediction has no attribution or no Grad-CAM; the network has to return its last spatial features"
        )
    return {"": own, "_grad_cam": resize_map(cast(Tensor, cam), size, "bilinear")}


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
