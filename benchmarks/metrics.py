"""Price of a metric update beside other libraries' in one run, and the bytes that a metric's state takes.

Usage:
    python benchmarks/metrics.py          # 5 rounds
    python benchmarks/metrics.py ROUNDS

All take the same 32 smooth maps of 224 × 224 pixels with their foregrounds, on one thread of the CPU, in turns; a
figure is the median over the rounds, of milliseconds of processor time a batch and of the ratio within one round.
Processor time is less disturbed than wall time by what else runs on a machine. Compared are the pixel average precision
at 1000 bins with torchmetrics' binary average precision at as many thresholds, and the energy pointing game with
Quantus' relevance mass accuracy. Quantus is left out, saying so, where it is not installed (pip install quantus).
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAveragePrecision

from maskexp import metrics
from maskexp.metrics import EnergyPointingGame, MaxBoxAccuracy, PixelAveragePrecision, PointingGame

IMAGES, SIDE, BINS, CLASSES, GROUPS, FRACTIONS = 32, 224, 1000, 200, 4, 11
Update = Callable[[], float]

METRICS: dict[str, Callable[[], Metric]] = {
    "BGGap": metrics.BGGap,
    "Comprehensiveness": metrics.Comprehensiveness,
    "EnergyPointingGame": EnergyPointingGame,
    f"GroupAccuracy, {GROUPS} groups": lambda: metrics.GroupAccuracy(GROUPS),
    "InsertionDeletion, 224 steps": lambda: metrics.InsertionDeletion("insertion"),
    "IoUAtThreshold": metrics.IoUAtThreshold,
    "IoUCurve, 101 thresholds": metrics.IoUCurve,
    "LegacyCometAveragePrecision": metrics.LegacyCometAveragePrecision,
    "LegacyCometIoUAUC": lambda: metrics.LegacyCometIoUAUC(0.9),
    "MaxBoxAccuracy, V1": lambda: MaxBoxAccuracy("v1"),
    "MaxBoxAccuracy, V2": lambda: MaxBoxAccuracy("v2"),
    "MeanArea": metrics.MeanArea,
    f"MissingnessCurve, {CLASSES} classes, {FRACTIONS} fractions": lambda: metrics.MissingnessCurve(CLASSES, FRACTIONS),
    "PixelAveragePrecision": PixelAveragePrecision,
    "PixelAveragePrecision, 65536 bins": lambda: PixelAveragePrecision(65536),
    "PixelAveragePrecision, mean over images": lambda: PixelAveragePrecision(average="image"),
    "PixelFidelity": metrics.PixelFidelity,
    f"PointingGame, {CLASSES} classes": lambda: PointingGame(CLASSES),
    "ProbabilityDrop": metrics.ProbabilityDrop,
    "Sufficiency": metrics.Sufficiency,
}
"""Every metric by name, with its usual arguments."""


def maps_and_foregrounds() -> tuple[Tensor, Tensor]:
    """Return maps as Grad-CAM gives them, 7 × 7 cells enlarged, and one disc an image, ``(32, 1, 224, 224)`` each."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(IMAGES, 1, 7, 7, generator=generator)
    maps = F.interpolate(cells, size=(SIDE, SIDE), mode="bilinear").clamp(0, 1)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    centres = torch.randint(60, SIDE - 60, (IMAGES, 2, 1, 1), generator=generator)
    foreground = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < 45**2
    return maps, foreground[:, None]


def updated(make: Callable[[], Metric], *inputs: Any) -> Update:
    """Return a call that updates a fresh metric and returns the processor seconds; making it is not counted."""

    def run() -> float:
        metric = make()
        begin = time.process_time()
        metric.update(*inputs)
        return time.process_time() - begin

    return run


def quantus_relevance_mass(maps: Tensor, foreground: Tensor, *, normalise: bool) -> tuple[Update, Callable[[], float]]:
    """Return the same for Quantus' metric, which has no state: its call on the batch, and the mean that it gives."""
    import quantus

    metric = quantus.RelevanceMassAccuracy(normalise=normalise, disable_warnings=True)
    batch = {
        "model": nn.Identity(),
        "x_batch": maps.numpy(),
        "y_batch": torch.zeros(IMAGES, dtype=torch.int64).numpy(),
        "a_batch": maps.numpy(),
        "s_batch": foreground.numpy(),
    }

    def run() -> float:
        begin = time.process_time()
        metric(**batch)
        return time.process_time() - begin

    return run, lambda: statistics.fmean(float(value) for value in metric(**batch))


def compare(rounds: int, maps: Tensor, foreground: Tensor) -> None:
    """Print the updates side by side, and that they say the same."""
    theirs = BinaryAveragePrecision(thresholds=BINS)
    theirs.update(maps.flatten(), foreground.flatten().long())
    ours = PixelAveragePrecision(BINS)
    ours.update(maps, foreground)
    print(f"pixel average precision: {ours.compute():.5f}, torchmetrics {theirs.compute():.5f}")
    pairs = {
        f"pixel average precision, {BINS} bins | torchmetrics' binned average precision": (
            updated(lambda: PixelAveragePrecision(BINS), maps, foreground),
            updated(lambda: BinaryAveragePrecision(thresholds=BINS), maps.flatten(), foreground.flatten().long()),
        )
    }
    if importlib.util.find_spec("quantus") is None:
        print("Quantus is not installed: the energy pointing game is compared with nothing (pip install quantus)")
    else:
        energy = EnergyPointingGame()
        energy.update(maps, foreground)
        for words, normalise in (("as it comes", True), ("without its normalisation", False)):
            relevance_mass, mean = quantus_relevance_mass(maps, foreground, normalise=normalise)
            print(f"energy pointing game: {energy.compute():.5f}, Quantus {words} {mean():.5f}")
            name = f"energy pointing game | Quantus' relevance mass accuracy, {words}"
            pairs[name] = (updated(EnergyPointingGame, maps, foreground), relevance_mass)
    print("\n| update of 32 maps | other | ms | other ms | times as fast | of the rounds |\n|---|---|---|---|---|---|")
    for name, (mine, other) in pairs.items():
        mine(), other()
        seconds = [(mine(), other()) for _ in range(rounds)]
        ratios = sorted(other / mine for mine, other in seconds)
        own, others = (1000 * statistics.median(of_one) for of_one in zip(*seconds, strict=True))
        ratio, spread = statistics.median(ratios), f"{ratios[0]:.0f}–{ratios[-1]:.0f}"
        print(f"| {name} | {own:.1f} | {others:.0f} | {ratio:.0f} | {spread} |")


def table_of_states(rounds: int, maps: Tensor, foreground: Tensor) -> None:
    """Print the bytes of every metric's state, and the price of an update where no classifier runs in it."""
    label = torch.arange(IMAGES) % CLASSES
    inputs: dict[str, tuple[Any, ...]] = dict.fromkeys(METRICS, (maps, foreground))
    inputs |= {"MeanArea": (maps,), "BGGap": (label, label, label > 3)}
    inputs[f"PointingGame, {CLASSES} classes"] = (maps, foreground, None, label)
    inputs[f"GroupAccuracy, {GROUPS} groups"] = (label, label, label % GROUPS)
    inputs[f"MissingnessCurve, {CLASSES} classes, {FRACTIONS} fractions"] = (label.repeat(FRACTIONS, 1), label, label)
    logits = torch.zeros(IMAGES, CLASSES)
    inputs["ProbabilityDrop"] = (logits, logits, label)
    asks = (metrics.PixelFidelity, metrics.InsertionDeletion, metrics.Comprehensiveness, metrics.Sufficiency)
    print("\n| metric | bytes of state | ms an update |\n|---|---|---|")
    for name, make in METRICS.items():
        metric = make()
        size = sum(getattr(metric, state).nbytes for state in metric._defaults)
        if isinstance(metric, asks):
            cost = "that of the classifier"
        else:
            repeats = 1 if isinstance(metric, MaxBoxAccuracy) else rounds
            run = updated(make, *inputs[name])
            run()
            cost = f"{1000 * statistics.median(run() for _ in range(repeats)):.1f}"
        print(f"| {name} | {size} | {cost} |")


def main(rounds: str = "5") -> None:
    """Measure and print Markdown tables."""
    torch.set_num_threads(1)
    maps, foreground = maps_and_foregrounds()
    compare(int(rounds), maps, foreground)
    table_of_states(int(rounds), maps, foreground)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
