"""Every metric on one small set of images, beside its definition written as plain loops over single images.

The loops are slow and share no code with the package. Each case is built anew, from a seed, in whichever process
asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torchmetrics import Metric

from maskexp.metrics import (
    ConstantMaps,
    EnergyPointingGame,
    GroupAccuracy,
    IoUAtThreshold,
    IoUCurve,
    LegacyCometAveragePrecision,
    LegacyCometIoUAUC,
    MaxBoxAccuracy,
    MeanArea,
    PixelAveragePrecision,
    PointingGame,
)
from tests.metrics.case import IMAGES, Case, Values
from tests.metrics.perturbation_cases import perturbation_cases


def cases() -> dict[str, Case]:
    """All cases by name."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(IMAGES, 1, 6, 5, generator=generator)
    maps[4] = 0  # no attribution at all
    signed = maps - 0.4
    smooth = torch.linspace(0, 1, IMAGES)[:, None, None, None] * convex_maps()
    foreground = torch.rand(IMAGES, 1, 6, 5, generator=generator) < 0.4
    foreground[5] = False  # cropped away
    present = torch.tensor([True] * (IMAGES - 1) + [False])
    ignore = (torch.rand(IMAGES, 1, 6, 5, generator=generator) < 0.1) & ~foreground
    logits = torch.randn(IMAGES, 3, generator=generator)
    label = torch.tensor([0, 0, 1, 2, 2, 1, 0])
    group = torch.tensor([0, 1, 1, 0, -1, 1, 3])
    counts = [50, 20, 7, 3]
    return perturbation_cases() | {
        "group_accuracy": Case(
            lambda: GroupAccuracy(4, train_group_counts=counts), (logits, label, group), loop_group_accuracy(counts)
        ),
        "epg": Case(EnergyPointingGame, (signed, foreground, present), loop_epg(defined_only=False)),
        "epg_defined": Case(
            lambda: EnergyPointingGame(defined_only=True), (signed, foreground, present), loop_epg(defined_only=True)
        ),
        "constant_maps": Case(
            ConstantMaps, (signed,), lambda m: {"value": float(sum(np.ptp(image) == 0 for image in m))}
        ),
        "mean_area": Case(MeanArea, (maps,), lambda m: {"value": float(np.mean([image.mean() for image in m]))}),
        "pxap": Case(lambda: PixelAveragePrecision(bins=16), (maps, foreground, present, ignore), loop_pxap(16)),
        "pxap_minmax": Case(
            lambda: PixelAveragePrecision(bins=16, normalize=True),
            (signed, foreground, present, ignore),
            loop_pxap(16, normalize=True),
        ),
        "pxap_image": Case(
            lambda: PixelAveragePrecision(bins=16, average="image"), (maps, foreground, present), loop_pxap_image(16)
        ),
        "iou_curve": Case(lambda: IoUCurve(thresholds=9), (maps, foreground, present), loop_iou_curve(9)),
        "iou": Case(
            lambda: IoUAtThreshold(0.3),
            (maps, foreground, present),
            lambda *inputs: {"value": loop_iou_at(0.3, *inputs)},
        ),
        "max_box_v1": Case(
            lambda: MaxBoxAccuracy("v1", thresholds=5), (smooth, foreground, present), loop_max_box([0.5], 5)
        ),
        "max_box_v2": Case(
            lambda: MaxBoxAccuracy("v2", thresholds=5), (smooth, foreground, present), loop_max_box([0.3, 0.5, 0.7], 5)
        ),
        "pointing_game": Case(
            lambda: PointingGame(3, tolerance=2),
            (maps.gt(0.5).float(), foreground, present, label),
            loop_pointing_game(3, 2),
        ),
        "pointing_game_first": Case(
            lambda: PointingGame(3, tolerance=2.5, ties="first"),
            (signed, foreground, present, label),
            loop_pointing_game(3, 2.5, first=True),
        ),
        "legacy_comet": Case(
            lambda: LegacyCometAveragePrecision(10), (maps, foreground, present), loop_legacy_average_precision(10)
        ),
        "legacy_comet_iou": Case(
            lambda: LegacyCometIoUAUC(0.3, 50), (maps, foreground, present), loop_legacy_iou_auc(0.3, 50)
        ),
    }


def computed(metric: Metric) -> Values:
    """Return what a metric says as plain numbers; a scalar is called ``value``."""
    result: Any = metric.compute()
    result = result if isinstance(result, dict) else {"value": result}
    if isinstance(metric, EnergyPointingGame):
        result |= metric.summary()
    return {name: value.item() for name, value in result.items()}


def update_in_batches(metric: Metric, inputs: Sequence[Any], batches: Sequence[Sequence[int]]) -> Metric:
    """Feed the images of each batch, given by their indices."""
    for batch in batches:
        metric.update(*(argument[list(batch)] if isinstance(argument, Tensor) else argument for argument in inputs))
    return metric


def loop_group_accuracy(train_counts: list[int]) -> Callable[..., Values]:
    def loop(logits: np.ndarray, label: np.ndarray, group: np.ndarray) -> Values:
        hits = [int(np.argmax(scores)) == y for scores, y in zip(logits, label, strict=True)]
        result: Values = {"acc": sum(hits) / len(hits)}
        accuracy: dict[int, float] = {}
        for g in range(len(train_counts)):
            members = [hit for hit, of in zip(hits, group, strict=True) if of == g]
            result[f"n_group/{g}"] = len(members)
            if members:
                accuracy[g] = result[f"acc_group/{g}"] = sum(members) / len(members)
        result["acc_worst_group"] = min(accuracy.values())
        result["acc_group_mean"] = sum(accuracy.values()) / len(accuracy)
        weights = {g: train_counts[g] for g in accuracy}
        result["acc_adjusted"] = sum(weights[g] * accuracy[g] for g in accuracy) / sum(weights.values())
        return result

    return loop


def loop_epg(*, defined_only: bool) -> Callable[..., Values]:
    def loop(attribution: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> Values:
        scores, areas, undefined, skipped = [], [], 0, 0
        for a, m, there in zip(attribution, foreground, present, strict=True):
            if not there or not m.any():
                skipped += 1
                continue
            positive = [max(float(v), 0.0) for v in a.ravel()]
            on_foreground = [v for v, inside in zip(positive, m.ravel(), strict=True) if inside]
            undefined += sum(positive) < 1e-7
            if sum(positive) < 1e-7 and defined_only:
                continue
            scores.append(sum(on_foreground) / sum(positive) if sum(positive) >= 1e-7 else 0.0)
            areas.append(m.sum() / m.size)
        mean = sum(scores) / len(scores)
        return {
            "value": mean,
            "epg": mean,
            "epg_baseline": sum(areas) / len(areas),
            "epg_images": len(scores),
            "epg_undefined": undefined,
            "epg_skipped": skipped,
        }

    return loop


def binned_scores(scores: np.ndarray, bins: int) -> list[int]:
    return [min(int(float(score) * bins), bins) for score in scores.ravel()]


def loop_pxap(bins: int, *, normalize: bool = False) -> Callable[..., Values]:
    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray, ignore: np.ndarray) -> Values:
        truth: list[bool] = []
        scores: list[int] = []
        for s, m, there, out in zip(maps.astype(np.float64), foreground, present, ignore, strict=True):
            if not there:
                continue
            if normalize:
                s = (s - s.min()) / (s.max() - s.min()) if s.max() > s.min() else np.zeros_like(s)
            truth += m[~out].tolist()
            scores += binned_scores(s[~out], bins)
        return {"value": float(average_precision_score(truth, scores))}

    return loop


def loop_pxap_image(bins: int) -> Callable[..., Values]:
    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> Values:
        precisions = [
            average_precision_score(m.ravel(), binned_scores(s, bins))
            for s, m, there in zip(maps, foreground, present, strict=True)
            if there and m.any()
        ]
        return {"value": float(np.mean(precisions))}

    return loop


def loop_iou_at(threshold: float, maps: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> float:
    values = []
    for s, m, there in zip(maps, foreground, present, strict=True):
        selected = {i for i, score in enumerate(s.ravel()) if score > threshold}
        truth = {i for i, inside in enumerate(m.ravel()) if inside}
        if there and truth:
            values.append(len(selected & truth) / len(selected | truth))
    return sum(values) / len(values)


def loop_iou_curve(steps: int) -> Callable[..., Values]:
    def loop(*inputs: np.ndarray) -> Values:
        thresholds = [i / (steps - 1) for i in range(steps)]
        curve = [loop_iou_at(threshold, *inputs) for threshold in thresholds]
        return {
            "iou_auc": sum((a + b) / 2 / (steps - 1) for a, b in itertools.pairwise(curve)),
            "iou_best": max(curve),
            "iou_best_threshold": thresholds[curve.index(max(curve))],
        }

    return loop


def loop_legacy_average_precision(edges: int) -> Callable[..., Values]:
    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> Values:
        scores, truth = maps[present].ravel(), foreground[present].ravel()
        area, before, positives = 0.0, 1 / 10001, sum(truth[scores >= 1 / edges])
        for edge in reversed(range(1, edges)):
            selected = truth[scores >= edge / edges]
            recall = selected.sum() / positives
            area += selected.mean() * (recall - before) if len(selected) else 0
            before = recall  # an empty first bin forgets the point that the curve began at
        return {"value": area}

    return loop


def loop_legacy_iou_auc(threshold: float, steps: int) -> Callable[..., Values]:
    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> Values:
        ious = []
        for s, m in zip(maps[present] > threshold, foreground[present], strict=True):
            ious.append(Fraction(int((s & m).sum()), int((s | m).sum())) if (s | m).any() else Fraction(-1))
        curve = [sum(iou >= Fraction(i, steps) for iou in ious) / len(ious) for i in range(steps + 1)]
        return {"value": sum((a + b) / 2 / steps for a, b in itertools.pairwise(curve))}

    return loop


def convex_maps() -> Tensor:
    """One 6×5 map for each image with a single region at every threshold: v1 and v2 see the same box."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    centres = [(i % 6, (2 * i) % 5) for i in range(IMAGES)]
    return torch.stack([1 - ((rows - r).abs() + (columns - c).abs())[None] / 9 for r, c in centres])


def loop_max_box(ious: list[float], thresholds: int) -> Callable[..., Values]:
    def box(pixels: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
        rows, columns = {r for r, _ in pixels}, {c for _, c in pixels}
        if not rows:
            return {(0, 0)}
        bottom, right = min(max(rows) + 1, 5), min(max(columns) + 1, 4)
        return {(r, c) for r in range(min(rows), bottom + 1) for c in range(min(columns), right + 1)}

    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray) -> Values:
        right = {iou: [0] * thresholds for iou in ious}
        total = 0
        for s, m, there in zip(maps[:, 0], foreground[:, 0], present, strict=True):
            if not there or not m.any():
                continue
            total += 1
            truth = box(list(zip(*m.nonzero(), strict=True)))
            grey = [[int(float(score) * 255) for score in line] for line in s]
            for t in range(thresholds):
                level = int(t / thresholds * max(max(line) for line in grey))
                selected = box([(r, c) for r in range(6) for c in range(5) if grey[r][c] > level])
                for iou in ious:
                    right[iou][t] += len(selected & truth) / len(selected | truth) >= iou
        accuracy = {iou: max(right[iou]) / total for iou in ious}
        if len(ious) == 1:
            return {"max_box_acc": accuracy[ious[0]]}
        mean = {"max_box_acc_v2": sum(accuracy.values()) / len(ious)}
        return mean | {f"max_box_acc_{round(100 * iou)}": accuracy[iou] for iou in ious}

    return loop


def loop_pointing_game(classes: int, tolerance: float, *, first: bool = False) -> Callable[..., Values]:
    def loop(maps: np.ndarray, foreground: np.ndarray, present: np.ndarray, label: np.ndarray) -> Values:
        hits: dict[int, list[float]] = {c: [] for c in range(classes)}
        for a, m, there, y in zip(maps[:, 0], foreground[:, 0], present, label, strict=True):
            if not there or not m.any():
                continue
            highest = np.argwhere(a == a.max())
            near = [any(np.hypot(*(pixel - q)) < tolerance for q in np.argwhere(m)) for pixel in highest]
            hits[int(y)].append(near[0] if first else sum(near) / len(near))
        everything = [hit for of_class in hits.values() for hit in of_class]
        means = [sum(of_class) / len(of_class) for of_class in hits.values() if of_class]
        return {
            "pointing_game": sum(everything) / len(everything),
            "pointing_game_class_mean": sum(means) / len(means),
        }

    return loop
