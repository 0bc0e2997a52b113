"""The metrics that run a classifier on parts of an image, beside their definitions as plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maskexp.metrics import BGGap, Comprehensiveness, InsertionDeletion, PixelFidelity, ProbabilityDrop, Sufficiency
from tests.metrics.case import IMAGES, Case, Values

__all__ = ["linear_classify", "perturbation_cases"]

CLASSES, SHAPE = 3, (2, 6, 5)
WEIGHTS = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def linear_classify(images: Tensor, visible: Tensor) -> Tensor:
    """Logits ``(B, 3)`` that are weighted sums of the visible pixels."""
    seen = images.double() * visible
    return (seen[:, None] * WEIGHTS).flatten(2).sum(dim=2)


def perturbation_cases() -> dict[str, Case]:
    """All cases by name."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(IMAGES, *SHAPE, generator=generator)
    maps = torch.rand(IMAGES, 1, *SHAPE[1:], generator=generator)
    maps[2] = (maps[2] > 0.6).float()  # a binary mask: ties
    maps[4] = 0
    label = torch.tensor([0, 0, 1, 2, 2, 1, 0])
    whole, masked = torch.randn(2, IMAGES, CLASSES, generator=generator).unbind()
    foreign = torch.tensor([True, False, False, True, True, False, False])
    inputs = (linear_classify, images, maps, label)
    shares = (0.0, 0.1, 0.5)
    return {
        "fidelity": Case(lambda: PixelFidelity(shares), inputs, loop_fidelity(shares, keep=False)),
        "fidelity_keep": Case(lambda: PixelFidelity(shares, protocol="keep"), inputs, loop_fidelity(shares, keep=True)),
        "insertion": Case(lambda: InsertionDeletion("insertion", 4), inputs, loop_insertion_deletion(4, insert=True)),
        "deletion": Case(lambda: InsertionDeletion("deletion", 7), inputs, loop_insertion_deletion(7, insert=False)),
        "comprehensiveness": Case(lambda: Comprehensiveness(shares), inputs, loop_drop(shares, keep=False)),
        "sufficiency": Case(lambda: Sufficiency(shares), inputs, loop_drop(shares, keep=True)),
        "probability_drop": Case(ProbabilityDrop, (whole, masked, label), loop_probability_drop),
        "bg_gap": Case(BGGap, (whole, label, foreign), loop_bg_gap),
    }


def first_pixels(attribution: np.ndarray, share: float) -> list[int]:
    values = attribution.ravel().tolist()
    return sorted(range(len(values)), key=lambda pixel: (-values[pixel], pixel))[: round(share * len(values))]


def logits_of(image: np.ndarray, shown: list[int]) -> list[float]:
    """Logits of one image of which only the pixels ``shown`` can be seen."""
    weights = WEIGHTS.numpy().reshape(CLASSES, SHAPE[0], -1)
    flat = image.reshape(SHAPE[0], -1)
    return [sum(flat[c, p] * of_class[c, p] for c in range(SHAPE[0]) for p in shown) for of_class in weights]


def rest(pixels: list[int]) -> list[int]:
    return sorted(set(range(SHAPE[1] * SHAPE[2])) - set(pixels))


def probability(logits: list[float], target: int) -> float:
    return math.exp(logits[target]) / sum(math.exp(logit) for logit in logits)


def loop_fidelity(shares: tuple[float, ...], *, keep: bool) -> Callable[..., Values]:
    def loop(images: np.ndarray, maps: np.ndarray, label: np.ndarray) -> Values:
        result = {}
        for share in shares:
            right = []
            for image, attribution, y in zip(images, maps, label, strict=True):
                pixels = first_pixels(attribution, share)
                right.append(int(np.argmax(logits_of(image, pixels if keep else rest(pixels)))) == y)
            name = f"acc_{'kept' if keep else 'removed'}_{round(100 * share):02d}"
            result[name] = sum(right) / len(right)
        return result

    return loop


def loop_insertion_deletion(steps: int, *, insert: bool) -> Callable[..., Values]:
    def loop(images: np.ndarray, maps: np.ndarray, label: np.ndarray) -> Values:
        areas = []
        for image, attribution, y in zip(images, maps, label, strict=True):
            curve = []
            for step in range(steps + 1):
                pixels = first_pixels(attribution, step / steps)
                curve.append(probability(logits_of(image, pixels if insert else rest(pixels)), y))
            areas.append((sum(curve) - curve[0] / 2 - curve[-1] / 2) / steps)
        return {"value": sum(areas) / len(areas)}

    return loop


def loop_drop(shares: tuple[float, ...], *, keep: bool) -> Callable[..., Values]:
    def loop(images: np.ndarray, maps: np.ndarray, label: np.ndarray) -> Values:
        drops = []
        for image, attribution, y in zip(images, maps, label, strict=True):
            for share in shares:
                pixels = first_pixels(attribution, share)
                shown = logits_of(image, pixels if keep else rest(pixels))
                drops.append(probability(logits_of(image, rest([])), y) - probability(shown, y))
        return {"value": sum(drops) / len(drops)}

    return loop


def loop_probability_drop(whole: np.ndarray, masked: np.ndarray, label: np.ndarray) -> Values:
    drops = [probability(list(a), y) - probability(list(b), y) for a, b, y in zip(whole, masked, label, strict=True)]
    return {"value": sum(drops) / len(drops)}


def loop_bg_gap(logits: np.ndarray, label: np.ndarray, foreign: np.ndarray) -> Values:
    right: dict[bool, list[bool]] = {False: [], True: []}
    for scores, y, from_elsewhere in zip(logits, label, foreign, strict=True):
        right[bool(from_elsewhere)].append(int(np.argmax(scores)) == y)
    same, rand = (sum(right[variant]) / len(right[variant]) for variant in (False, True))
    accuracies = {"bg_gap": same - rand, "acc_mixed_same": same, "acc_mixed_rand": rand}
    return accuracies | {"n_mixed_same": len(right[False]), "n_mixed_rand": len(right[True])}
