"""How a removed region is hidden from a network: one interface, ``(network, images, visible) -> output``.

``visible`` is ``(B, 1, H, W)`` bool, True = keep. A :class:`Fill` paints over the hidden pixels; :class:`LayerMasking`
and :class:`PartialConvolution` carry the mask through a CNN, :class:`TokenDropping` drops tokens of a transformer.

Example:
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> images = torch.tensor([[[[1.0, float("nan")]]]])
    >>> visible = torch.tensor([[[[True, False]]]])
    >>> LayerMasking()(network, images, visible), Colour((0.0,))(network, images, visible)
    (tensor([[1.]]), tensor([[0.5000]]))
"""

from maskexp.masking.inputs.fills import IMAGENET_MEAN, Black, Blur, Colour, EdgeSmoothed, Fill, Grey, Mean, Noise
from maskexp.masking.inputs.interface import InputMasking
from maskexp.masking.inputs.layer_masking import LayerMasking, PartialConvolution, UnsupportedLayerError
from maskexp.masking.inputs.neighbours import neighbour_padding
from maskexp.masking.inputs.registry import INPUT_MASKING_NAMES, create_input_masking, create_input_maskings
from maskexp.masking.inputs.token_dropping import TokenDropping

__all__ = [
    "IMAGENET_MEAN",
    "INPUT_MASKING_NAMES",
    "Black",
    "Blur",
    "Colour",
    "EdgeSmoothed",
    "Fill",
    "Grey",
    "InputMasking",
    "LayerMasking",
    "Mean",
    "Noise",
    "PartialConvolution",
    "TokenDropping",
    "UnsupportedLayerError",
    "create_input_masking",
    "create_input_maskings",
    "neighbour_padding",
]
