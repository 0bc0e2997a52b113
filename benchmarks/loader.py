"""Images per second of the training loader, side by side: torchvision's usual pipeline, and ours in three variants.

Usage:
    python benchmarks/loader.py photographs FOLDER   # any folder with JPEG files; no foreground
    python benchmarks/loader.py waterbirds ROOT      # a folder in WaterBirds' layout; foregrounds are loaded by ours
A third argument is the number of rounds, 5 if not given.

All loaders crop at random to 224 (share of the area 0.08 to 1), mirror, use 2 workers and batches of 64. The loaders
take turns; a figure is the median over the rounds, of images per second and of the ratio within one round. Processor
time, of workers and main process together, is less disturbed by what else runs on a machine. ImageFolder delivers
normalised floats. Ours delivers bytes, because the floats are made on the device; the last row makes them on this CPU,
in the main process.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from multiprocessing import active_children
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from maskexp.data import ImageDataModule, Manifest, WaterBirds
from maskexp.data.loading import pixels
from maskexp.data.transforms import TrainTransform

SECONDS = 1.0  # at least, of each loader in each round
WORKERS, BATCH, SIZE, SCALE = 2, 64, 224, (0.08, 1.0)
Loader = Iterable[Any]


def image_folder(images: Iterable[Path], root: Path) -> Path:
    """Link the images into a tree of ten classes, as ImageFolder reads it."""
    for number, path in enumerate(images):
        link = root / "train" / str(number % 10) / f"{number:06d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return root


def baseline(root: Path) -> DataLoader[Any]:
    """Return torchvision's ImageFolder with the transforms of its documentation, on Pillow images."""
    steps = [T.RandomResizedCrop(SIZE, SCALE), T.RandomHorizontalFlip(), T.ToTensor()]
    normalised = T.Compose([*steps, T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    data = ImageFolder(str(root / "train"), normalised)
    return DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True)


def loaders(root: Path, ours: Callable[..., ImageDataModule]) -> dict[str, Loader]:
    """Return all loaders with their workers started, so that each keeps its decoder."""
    files, cached = ours(), ours(cache="memmap")
    with mock.patch.object(pixels, "_torchcodec", return_value=None):
        pillow = started(ours().train_dataloader())
    started_cached = started(cached.train_dataloader())
    return {
        "ImageFolder, Pillow, floats": started(baseline(root)),
        "ours, Pillow": pillow,
        f"ours, {pixels.decoder_name()}": started(files.train_dataloader()),
        "ours, cache": started_cached,
        "ours, cache, floats on this CPU": Floats(cached, started_cached),
    }


class Floats:
    """A loader whose batches become floats in the main process, as on a machine without GPU."""

    def __init__(self, data: ImageDataModule, loader: Loader) -> None:
        self.data, self.loader = data, loader

    def __iter__(self) -> Any:
        """Yield batches of floats in [0, 1]."""
        return (self.data.on_after_batch_transfer(batch, 0) for batch in self.loader)


def started(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Read one epoch, so that the workers run and the files are in memory."""
    for _ in loader:
        pass
    return loader


def cpu_seconds() -> float:
    """Return the processor time that this process and its workers have used (Linux)."""
    processes = [os.getpid(), *(child.pid for child in active_children())]
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(of_one[11]) + int(of_one[12]) for of_one in fields) / os.sysconf("SC_CLK_TCK")


def measure(loader: Loader) -> tuple[float, float]:
    """Return images per second of wall time, and per second of processor time, over whole epochs."""
    images, begin, cpu = 0, time.perf_counter(), cpu_seconds()
    while time.perf_counter() - begin < SECONDS:
        images += sum(len(batch[0] if isinstance(batch, list) else batch["image"]) for batch in loader)
    return images / (time.perf_counter() - begin), images / (cpu_seconds() - cpu)


def main(kind: str, folder: str, rounds: str = "5") -> None:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    arguments: dict[str, Any] = {"num_workers": WORKERS, "batch_size": BATCH, "image_size": SIZE}
    arguments["train_transform"] = TrainTransform(SCALE)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MASKEXP_CACHE"] = f"{scratch}/cache"
        if kind == "waterbirds":
            birds = WaterBirds(folder, **arguments)
            images = [Path(birds.prepared.root, row.image) for row in birds.table.split("train")]
            root = image_folder(images, Path(scratch))
            measured = loaders(root, lambda **more: WaterBirds(folder, **arguments, **more))
        else:
            images = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
            root = image_folder(images, Path(scratch))
            measured = loaders(root, lambda **more: Manifest(str(root), **arguments, **more))
        results = [{name: measure(loader) for name, loader in measured.items()} for _ in range(int(rounds))]
    first = next(iter(measured))
    print(f"| {len(images)} images | images/s | ratio | of the rounds | CPU ms/image | CPU ratio |")
    print("|---|---|---|---|---|---|")
    for name in measured:
        (wall, ratio, spread), (cpu, cpu_ratio, _) = (
            summary([(of_round[name][clock], of_round[first][clock]) for of_round in results]) for clock in (0, 1)
        )
        print(f"| {name} | {wall:.0f} | {ratio:.2f} | {spread} | {1000 / cpu:.2f} | {cpu_ratio:.2f} |")


def summary(pairs: list[tuple[float, float]]) -> tuple[float, float, str]:
    """Return the median speed, the median ratio to the other speed, and the range of the ratios."""
    ratios = sorted(speed / other for speed, other in pairs)
    spread = f"{ratios[0]:.2f}–{ratios[-1]:.2f}"
    return statistics.median(speed for speed, _ in pairs), statistics.median(ratios), spread


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4} or sys.argv[1] not in {"photographs", "waterbirds"}:
        sys.exit(__doc__)
    main(*sys.argv[1:])
