"""Maps from what a classifier says about the image when parts of it are hidden: occlusion and RISE.

The third of them, LIME, is in :mod:`maskexp.attribution.lime`. Parts are hidden in any way of
:mod:`maskexp.masking.inputs`, layer masking included (``rise:hiding=layer``).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from maskexp.attribution.forward import (
    Precision,
    in_batches,
    in_precision,
    laid_out,
    logits_of,
    masked_logits,
    resolved_hiding,
)
from maskexp.attribution.registry import register_attribution
from maskexp.masking.inputs import Fill, InputMasking

__all__ = ["RiseMasks", "occlusion", "rise"]


@register_attribution("occlusion", title="occlusion", scale="positive")
def occlusion(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    hiding: InputMasking | None = None,
    window: int = 32,
    stride: int = 16,
    batch_size: int | None = None,
) -> Tensor:
    """Return by how much the target's probability drops when a window over a pixel is hidden.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        hiding: how a window is hidden; None: in the colour that the network normalises to 0.
        window: side of the square in pixels (ours); the image's shorter side if it is larger.
        stride: pixels from one window to the next (ours); the last ones may reach over the border.
        batch_size: windows at once; the largest batch that fits if None.

    Returns:
        ``(B, 1, H, W)`` float32, the mean drop over the windows that cover a pixel, of either sign; 0 where none does.

    Source:
        Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. As captum's ``Occlusion`` of
        the softmax.
    """
    count, height, width = len(images), *images.shape[-2:]
    window = min(window, height, width)
    hide = resolved_hiding(hiding, network, images)
    rows, columns = (_covered(side, window, stride, images.device) for side in (height, width))
    total = len(rows) * len(columns)
    drops = torch.zeros(total * count, device=images.device)
    with torch.inference_mode():
        whole = _probabilities(logits_of(network(images)), target)

    @torch.inference_mode()
    def run(start: int, stop: int) -> None:
        each = torch.arange(start, stop, device=images.device)
        image, place = each % count, each // count
        row, column = place // len(columns), place % len(columns)
        visible = ~(rows[row][:, None, :, None] & columns[column][:, None, None, :])
        hidden = _probabilities(logits_of(hide(network, laid_out(images[image]), visible)), target[image])
        drops[start:stop] = whole[image] - hidden

    in_batches(run, total * count, network, images, batch_size, "occlusion")
    down, along = rows.float(), columns.float()
    drop = drops.view(len(rows), len(columns), count)
    with _full_precision(images):
        summed = torch.einsum("rh,rcb,cw->bhw", down, drop, along)
    covering = down.sum(dim=0)[:, None] * along.sum(dim=0)[None]
    return (summed / covering.clamp(min=1))[:, None]


@register_attribution("rise", title="RISE", scale="min_max")
def rise(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    hiding: InputMasking | None = None,
    masks: int = 2000,
    cells: int = 8,
    keep: float = 0.5,
    seed: int = 0,
    batch_size: int | None = None,
    precision: Precision | None = None,
) -> Tensor:
    r"""Return RISE: the mean of random soft masks, each weighed by the target's probability under it.

    :math:`\frac{1}{N p} \sum_i P_c(x \odot M_i) M_i`. By name it is stretched to [0, 1], since it is nowhere near 0.

    Args:
        network: any classifier in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: ``(B,)`` int64 class to explain.
        features: not used.
        hiding: how the image is hidden where a mask is 0. None: in the colour that the network normalises to 0, as
            published. Layer masking and others that know no half hidden pixel show, and weigh, where a mask is > 0.5.
        masks: N, the same masks for all images (released code: 2000 and, in its evaluation, 5000; paper: 4000 or 8000).
        cells: of the grid on a side (released code: 8 and 10; paper: 7).
        keep: probability p of a cell to be visible (released code: 0.5 and 0.1; paper: 0.5).
        seed: of the masks, which depend on it and on the image size alone.
        batch_size: masked images at once; the largest batch that fits if None.
        precision: in which masked images go through the network, ``bf16`` or ``fp32``; None: as it runs around this
            function. bf16 takes half to two thirds of the time where the device computes in it.

    Returns:
        ``(B, 1, H, W)`` float32, 0 or greater.

    Raises:
        ValueError: if ``keep`` is not between 0 and 1.

    Source:
        Petsiuk et al., "RISE", BMVC 2018, eq. 6; grids, enlarging and shifts as in its released code.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}; it is the probability of a cell to be visible, between 0 and 1")
    count, size = len(images), (images.shape[-2], images.shape[-1])
    hide = resolved_hiding(hiding, network, images)
    drawn = RiseMasks(masks, cells, keep, size, seed, images.device)
    soft = isinstance(hide, Fill)
    saliency = torch.zeros(count, size[0] * size[1], device=images.device)

    @torch.inference_mode()
    def run(start: int, stop: int) -> None:
        each = torch.arange(start, stop, device=images.device)
        image, number = each % count, each // count
        first, last = start // count, (stop - 1) // count + 1
        with _full_precision(images):
            shown = drawn(first, last)
        if not soft:
            shown = (shown > 0.5).float()
        logits = masked_logits(network, images[image], shown[number - first], hide)
        scores = torch.zeros(count, last - first, device=images.device)
        scores[image, number - first] = _probabilities(logits, target[image])
        with _full_precision(images):
            saliency.addmm_(scores, shown.flatten(1))

    with in_precision(images, precision):
        in_batches(run, count * masks, network, images, batch_size, "rise")
    return saliency.view(count, 1, *size) / (masks * keep)


class RiseMasks:
    """The random masks of RISE: coarse binary grids, enlarged bilinearly and shifted by up to a cell.

    The released code enlarges all at once by scikit-image; here those that are asked for are a product of three small
    matrices, which is the same to rounding.

    Args:
        masks: how many.
        cells: of the grid on a side.
        keep: probability of a cell to be visible.
        size: (height, width) of the masks.
        seed: of the draw.
        device: of the masks.
    """

    def __init__(
        self, masks: int, cells: int, keep: float, size: tuple[int, int], seed: int, device: torch.device
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.grids = (torch.rand(masks, cells, cells, generator=generator) < keep).float().to(device)
        steps = [math.ceil(side / cells) for side in size]
        self.shifts = [torch.randint(step, (masks,), generator=generator).to(device) for step in steps]
        enlarging = [_enlarging(cells, (cells + 1) * step).to(device) for step in steps]
        # (shift, cells, side): the rows of the enlarged grid that a shift leaves
        self.windows = [each.unfold(0, side, 1) for each, side in zip(enlarging, size, strict=True)]

    def __call__(self, start: int, stop: int) -> Tensor:
        """Return the masks from one number to before another, ``(stop - start, 1, H, W)`` float32 in [0, 1]."""
        rows, columns = (windows[shift[start:stop]] for windows, shift in zip(self.windows, self.shifts, strict=True))
        return (rows.mT @ self.grids[start:stop] @ columns)[:, None]


def _enlarging(cells: int, side: int) -> Tensor:
    """Return the matrix ``(side, cells)`` that enlarges a row of cells bilinearly, mirrored at the outermost cells."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) * cells / side - 0.5
    last = cells - 1
    place = last - (last - place.abs()).abs() if last else torch.zeros_like(place)
    lower = place.floor().clamp(0, max(last - 1, 0))
    share = (place - lower)[:, None]
    cell = torch.arange(cells)
    at = lower.long()[:, None]
    return ((cell == at) * (1 - share) + (cell == at + 1) * share).float()


def _covered(side: int, window: int, stride: int, device: torch.device) -> Tensor:
    """Return which pixels of a side each window covers, ``(windows, side)`` bool."""
    starts = torch.arange(math.ceil((side - window) / stride) + 1, device=device)[:, None] * stride
    pixels = torch.arange(side, device=device)
    return (pixels >= starts) & (pixels < starts + window)


def _full_precision(images: Tensor) -> torch.autocast:
    """Return a context without autocast: the network may run in bfloat16, sums over its answers may not."""
    return torch.autocast(images.device.type, enabled=False)


def _probabilities(logits: Tensor, target: Tensor) -> Tensor:
    """Return the probability of the target of each image, ``(B,)``."""
    return logits.softmax(dim=1).gather(1, target[:, None])[:, 0]
