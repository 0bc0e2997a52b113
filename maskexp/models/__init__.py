"""Networks: images in [0, 1] in, :class:`~maskexp.types.Prediction` out."""

from maskexp.models.aim import AIMNetwork
from maskexp.models.backbones import Backbone
from maskexp.models.bottom_up import BottomUpNetwork
from maskexp.models.classifier import Classifier

__all__ = ["AIMNetwork", "Backbone", "BottomUpNetwork", "Classifier"]
