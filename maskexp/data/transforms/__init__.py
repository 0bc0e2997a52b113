"""What happens to an image before a network sees it: geometry, which moves image and mask together, and colours."""

from maskexp.data.transforms.geometry import EvalTransform, TrainTransform

__all__ = ["EvalTransform", "TrainTransform"]
