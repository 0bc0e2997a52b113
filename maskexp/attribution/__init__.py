"""Maps that explain any classifier after the fact, by name, and the segments that some of them are made of.

Every module of this package is imported here: a file with a :func:`register_attribution` is all that a new map takes.

Example:
    >>> import torch
    >>> from maskexp.models import Classifier
    >>> network = Classifier("small_convnet", num_classes=2, weights=None, image_size=(32, 32)).eval()
    >>> images, target = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    >>> attribution_map("grad_cam")(network, images, target).shape[:2]
    torch.Size([4, 1])
    >>> prediction = add_attributions(network(images), network, images, target, ["own", "grad_cam"])
    >>> sorted(prediction.attributions)
    ['grad_cam', 'own']
"""

from importlib import import_module
from pkgutil import iter_modules

from maskexp.attribution.cam import (
    ablation_cam,
    cam,
    grad_cam,
    grad_cam_plus_plus,
    layer_cam,
    score_cam,
    xgrad_cam,
)
from maskexp.attribution.forward import report_progress
from maskexp.attribution.gradients import input_x_gradient, integrated_gradients, smooth_grad
from maskexp.attribution.lime import lime, lime_weights, paint_segments, random_designs
from maskexp.attribution.perturbation import occlusion, rise
from maskexp.attribution.registry import (
    DEFAULT_MAPS,
    AttributionMap,
    ExplainableNetwork,
    add_attributions,
    attribution_map,
    attribution_names,
    map_title,
    register_attribution,
    registered_name,
    require_maps,
    validated_maps,
)
from maskexp.attribution.rollout import attention_rollout
from maskexp.attribution.segments import Patches, Quickshift, Segmenter, Slic, create_segmenter

__all__ = [
    "DEFAULT_MAPS",
    "AttributionMap",
    "ExplainableNetwork",
    "Patches",
    "Quickshift",
    "Segmenter",
    "Slic",
    "ablation_cam",
    "add_attributions",
    "attention_rollout",
    "attribution_map",
    "attribution_names",
    "cam",
    "create_segmenter",
    "grad_cam",
    "grad_cam_plus_plus",
    "input_x_gradient",
    "integrated_gradients",
    "layer_cam",
    "lime",
    "lime_weights",
    "map_title",
    "occlusion",
    "paint_segments",
    "random_designs",
    "register_attribution",
    "registered_name",
    "report_progress",
    "require_maps",
    "rise",
    "score_cam",
    "smooth_grad",
    "validated_maps",
    "xgrad_cam",
]

for _module in sorted(iter_modules(__path__), key=lambda module: module.name):
    import_module(f"{__name__}.{_module.name}")
