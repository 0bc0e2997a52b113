"""Attributions that know nothing, or everything: the rows without which a localisation table cannot be read.

A random and a constant map score about the share of foreground pixels, a centred Gaussian what photographers' habit is
worth, and the ground truth itself the best that a metric can say.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from maskexp.metrics.functional.draws import uniform_maps

__all__ = ["CONTROLS", "Control", "control_attribution"]

Control = Literal["random", "centred_gaussian", "constant", "ground_truth"]
CONTROLS: tuple[Control, ...] = get_args(Control)
GAUSSIAN_WIDTH = 0.25  # standard deviation in heights and widths of the image (ours)


def control_attribution(control: Control, foreground: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """Return the control attribution for a batch.

    * ``random``: every pixel uniform in [0, 1). The draw depends on ``seed`` and the image's ``index`` alone, neither
      on batches nor on ranks nor on the device.
    * ``centred_gaussian``: a Gaussian around the centre, its standard deviation a quarter of the height and width.
    * ``constant``: 0.5 everywhere.
    * ``ground_truth``: 1 on the foreground, 0 elsewhere.

    Args:
        control: which of :data:`CONTROLS`.
        foreground: ``(B, 1, H, W)`` bool.
        index: ``(B,)`` int64, the row of each image in its data set.
        seed: of the random control.

    Returns:
        ``(B, 1, H, W)`` float32 in [0, 1], on the device of the foreground.

    Raises:
        ValueError: if there is no such control, or the shapes do not fit.

    Example:
        >>> foreground = torch.tensor([[[[True, False, False, False]]]])
        >>> control_attribution("ground_truth", foreground, torch.tensor([7]))
        tensor([[[[1., 0., 0., 0.]]]])
        >>> control_attribution("centred_gaussian", foreground, torch.tensor([7]))
        tensor([[[[0.3247, 0.8825, 0.8825, 0.3247]]]])
    """
    if foreground.ndim != 4 or foreground.shape[1] != 1 or index.shape != foreground.shape[:1]:
        raise ValueError(
            f"a control needs a foreground (B, 1, H, W) and an index (B,), not {tuple(foreground.shape)} and "
            f"{tuple(index.shape)}"
        )
    if control == "ground_truth":
        return foreground.float()
    if control == "constant":
        return torch.full_like(foreground, 0.5, dtype=torch.float32)
    if control == "centred_gaussian":
        return _centred_gaussian(*foreground.shape[-2:]).to(foreground.device).expand(foreground.shape).clone()
    if control == "random":
        return uniform_maps(index, (foreground.shape[-2], foreground.shape[-1]), seed).to(foreground.device)
    raise ValueError(f"control has to be one of {', '.join(CONTROLS)}, not {control!r}")


def _centred_gaussian(height: int, width: int) -> Tensor:
    rows = ((torch.arange(height) + 0.5) / height - 0.5) / GAUSSIAN_WIDTH
    columns = ((torch.arange(width) + 0.5) / width - 0.5) / GAUSSIAN_WIDTH
    return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)
