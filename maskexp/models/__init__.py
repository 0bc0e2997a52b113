"""Networks: images in [0, 1] in, :class:`~maskexp.types.Prediction` out.

Example:
    >>> import torch
    >>> from maskexp.models import Classifier
    >>> network = Classifier("small_convnet", 5, None, (32, 32)).eval()
    >>> prediction = network(torch.rand(2, 3, 32, 32))
    >>> prediction.logits.shape, prediction.features.ndim
    (torch.Size([2, 5]), 4)
"""

from maskexp.models.aim import AIMNetwork
from maskexp.models.backbones import Backbone
from maskexp.models.bcos import BCosNetwork
from maskexp.models.bottom_up import BottomUpNetwork
from maskexp.models.cad import CADNetwork
from maskexp.models.classifier import Classifier
from maskexp.models.comet import COMETNetwork
from maskexp.models.dynconv import DynConvNetwork
from maskexp.models.selector import Selector

__all__ = [
    "AIMNetwork",
    "BCosNetwork",
    "Backbone",
    "BottomUpNetwork",
    "CADNetwork",
    "COMETNetwork",
    "Classifier",
    "DynConvNetwork",
    "Selector",
]
