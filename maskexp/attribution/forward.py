"""What maps that ask a network many times have in common: its logits, batches that fit, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from maskexp.masking.inputs import Colour, Fill, InputMasking
from maskexp.types import Prediction

__all__ = [
    "Precision",
    "in_batches",
    "in_precision",
    "laid_out",
    "logits_of",
    "masked_logits",
    "painted",
    "report_progress",
    "resolved_hiding",
]

Report = Callable[[str, int, int], None]
"""Told what is computed, how many forward passes are done, and how many there are."""

Precision = Literal["bf16", "fp32"]
"""In what the perturbed images go through the network; sums over its answers are always float32."""

ON_CPU, ON_ACCELERATOR = 16, 512
"""Images of 224 × 224 pixels in a batch to begin with: on one thread of a CPU torch takes its fast convolutions from 16
images on; larger batches leave the cache."""

_report: ContextVar[Report | None] = ContextVar("report", default=None)
_fitting: WeakKeyDictionary[Any, dict[tuple[str, int], int]] = WeakKeyDictionary()
"""The batch that fitted the last time, by network, map and pixels: memory runs out once, and not in each call."""


@contextmanager
def report_progress(report: Report) -> Iterator[None]:
    """Let a function be told how far the maps are that are computed in this context.

    Args:
        report: takes the name of the map, the forward passes that are done and their total.
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


@contextmanager
def in_precision(images: Tensor, precision: Precision | None) -> Iterator[None]:
    """Let networks run in bfloat16 or float32 in this context.

    Args:
        images: on whose device they run.
        precision: None leaves them as they run around it, e.g. in the precision of a trainer.
    """
    if precision is None:
        yield
        return
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


def in_batches(
    run: Callable[[int, int], None], total: int, network: Any, images: Tensor, batch_size: int | None, what: str
) -> None:
    """Call ``run(start, stop)`` for consecutive ranges of forward passes; where memory runs out, halve them.

    Args:
        run: computes passes ``start`` to ``stop`` and keeps what they gave; called again for a range in which memory
            ran out, so that it has to keep it last.
        total: number of passes.
        network: that is asked.
        images: ``(B, C, H, W)``, of the size and on the device of the passes.
        batch_size: passes at once; None: the largest batch that fits, at most 16 of 224 × 224 pixels on a CPU.
        what: name of the map.

    Raises:
        torch.OutOfMemoryError: if not even a single pass fits.
    """
    device, pixels = images.device, images.shape[-2] * images.shape[-1]
    known = _fitting.setdefault(network, {})
    if batch_size is None:
        most = ON_CPU if device.type == "cpu" else ON_ACCELERATOR
        batch_size = known.get((what, pixels), max(most * 224 * 224 // max(pixels, 1), 1))
    start, report = 0, _report.get()
    while start < total:
        stop = min(start + batch_size, total)
        try:
            run(start, stop)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = known[what, pixels] = max(min(batch_size, total) // 2, 1)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        start = stop
        if report is not None:
            report(what, start, total)


def laid_out(images: Tensor) -> Tensor:
    """Return images with their channels last in memory on a CPU, where convolutions are up to twice as fast then."""
    return images.contiguous(memory_format=torch.channels_last) if images.device.type == "cpu" else images


def logits_of(output: Any) -> Tensor:
    """Return the logits ``(B, K)`` float32 of what a network returns: a prediction, or the logits alone.

    Raises:
        ValueError: if it is neither.
    """
    logits = output.logits if isinstance(output, Prediction) else output
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the network returns {shape}; a classifier returns logits (B, K) or a Prediction")
    return logits.float()


def resolved_hiding(hiding: InputMasking | None, network: Any, images: Tensor) -> InputMasking:
    """Return a way of hiding; None is the colour that the network normalises to 0.

    It is looked for in the network's normalisation, a module with a ``mean`` and a ``std``. A network without one is
    given normalised images, of which 0 is the colour.
    """
    if hiding is not None:
        return hiding
    modules = network.modules() if isinstance(network, nn.Module) else ()
    for module in modules:
        mean, std = getattr(module, "mean", None), getattr(module, "std", None)
        if isinstance(mean, Tensor) and isinstance(std, Tensor) and mean.numel() == std.numel() == images.shape[1]:
            return Colour(tuple(mean.flatten().tolist()))
    return Colour((0.0,) * images.shape[1])


def painted(hiding: InputMasking | None, network: Any, images: Tensor, what: str) -> Tensor:
    """Return the images ``(B, C, H, W)`` with every pixel hidden.

    Raises:
        ValueError: if the way of hiding shows the network no other image, as layer masking.
    """
    fill = resolved_hiding(hiding, network, images)
    if not isinstance(fill, Fill):
        raise ValueError(
            f"{what} compares with an image in which all is hidden, and {type(fill).__name__} makes none; choose a "
            "way of hiding that paints, such as grey, black or blur"
        )
    return fill.fill(images, torch.zeros_like(images[:, :1], dtype=torch.bool))


def masked_logits(network: Any, images: Tensor, mask: Tensor, hiding: InputMasking) -> Tensor:
    """Return the logits of images seen through a soft mask.

    Args:
        network: any classifier.
        images: ``(B, C, H, W)``.
        mask: ``(B, 1, H, W)`` in [0, 1], 1 = keep.
        hiding: what paints blends; what cannot (layer masking, dropped tokens) shows where the mask exceeds 0.5.
    """
    if isinstance(hiding, Fill):
        return logits_of(network(laid_out(hiding.blend(images, mask))))
    return logits_of(hiding(network, laid_out(images), mask > 0.5))
