"""LightningModules: the objective and the optimisation of one model each.

Example:
    >>> import torch
    >>> from maskexp.methods import AIM
    >>> from maskexp.types import DataSpec
    >>> spec = DataSpec("mine", "v1", ("cat", "dog"), (), (), (32, 32), (), "none")
    >>> method = AIM(backbone="small_convnet", weights=None, spec=spec)
    >>> method.build(spec)
    >>> prediction = method.eval()(torch.rand(3, 3, 32, 32))
    >>> prediction.logits.shape, len(prediction.masks)
    (torch.Size([3, 2]), 2)
"""

from maskexp.methods.aim import AIM
from maskexp.methods.base import Method
from maskexp.methods.bcos import BCos
from maskexp.methods.bottom_up import BottomUp
from maskexp.methods.cad import CAD
from maskexp.methods.checkpoint import CheckpointError
from maskexp.methods.comet import COMET
from maskexp.methods.dfr import DFR
from maskexp.methods.diet import DiET
from maskexp.methods.dynconv import DynConv
from maskexp.methods.erm import ERM
from maskexp.methods.group_dro import GroupDRO
from maskexp.methods.input_masked import InputMasked
from maskexp.methods.jtt import JTT
from maskexp.methods.loading import load_method
from maskexp.methods.mask_tune import MaskTune
from maskexp.methods.masked_classifier import MaskedClassifier
from maskexp.methods.rbaem import RBAEM
from maskexp.methods.realx import REALX
from maskexp.methods.rt_saliency import RTSaliency

__all__ = [
    "AIM",
    "CAD",
    "COMET",
    "DFR",
    "ERM",
    "JTT",
    "RBAEM",
    "REALX",
    "BCos",
    "BottomUp",
    "CheckpointError",
    "DiET",
    "DynConv",
    "GroupDRO",
    "InputMasked",
    "MaskTune",
    "MaskedClassifier",
    "Method",
    "RTSaliency",
    "load_method",
]
