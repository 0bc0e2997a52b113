"""Maps that explain any classifier after the fact, and the segments that some of them are made of."""

from maskexp.attribution.gradcam import grad_cam
from maskexp.attribution.lime import lime_weights, paint_segments, random_designs
from maskexp.attribution.segments import Patches, Quickshift, Segmenter, Slic, create_segmenter

__all__ = [
    "Patches",
    "Quickshift",
    "Segmenter",
    "Slic",
    "create_segmenter",
    "grad_cam",
    "lime_weights",
    "paint_segments",
    "random_designs",
]
