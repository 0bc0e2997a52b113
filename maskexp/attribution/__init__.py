"""Maps that explain any classifier after the fact."""

from maskexp.attribution.gradcam import grad_cam

__all__ = ["grad_cam"]
