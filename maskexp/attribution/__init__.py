"""Maps that explain any classifier after the fact, by name, and the segments that some of them are made of.

Every module of this package is imported here: a file with a :func:`register_attribution` is all that a new map takes.
"""

from importlib import import_module
from pkgutil import iter_modules

from maskexp.attribution.gradcam import grad_cam
from maskexp.attribution.lime import lime_weights, paint_segments, random_designs
from maskexp.attribution.registry import (
    DEFAULT_MAPS,
    AttributionMap,
    ExplainableNetwork,
    add_attributions,
    attribution_map,
    attribution_names,
    map_title,
    register_attribution,
    validated_maps,
)
from maskexp.attribution.segments import Patches, Quickshift, Segmenter, Slic, create_segmenter

__all__ = [
    "DEFAULT_MAPS",
    "AttributionMap",
    "ExplainableNetwork",
    "Patches",
    "Quickshift",
    "Segmenter",
    "Slic",
    "add_attributions",
    "attribution_map",
    "attribution_names",
    "create_segmenter",
    "grad_cam",
    "lime_weights",
    "map_title",
    "paint_segments",
    "random_designs",
    "register_attribution",
    "validated_maps",
]

for _module in sorted(iter_modules(__path__), key=lambda module: module.name):
    import_module(f"{__name__}.{_module.name}")
