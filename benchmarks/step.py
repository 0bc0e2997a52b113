"""Time training steps of the masked classifiers against the bare backbone, side by side in one training.

Usage: python benchmarks/step.py [image_size] [batch_size] [steps]

Ours is what happens between the start of a batch and the end of its backward pass in a real training. The bare work,
done right before or after it on the same batch, is a forward pass of the row's own backbone, and its backward pass
where the backbone learns. The figure is the ratio of the medians of processor time.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, ERM, BottomUp
from maskexp.methods.base import Method
from maskexp.models.backbones import Backbone
from maskexp.process import keep_freed_memory

WARM_UP = 3
ROWS: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "ERM": (ERM, {}),
    "AIM[1]": (AIM, {"stages": 1}),
    "AIM[2]": (AIM, {"stages": 2}),
    "AIM[2], pyramid": (AIM, {"stages": 2, "estimator_input": "pyramid", "pooling": "active"}),
    "AIM[2], auto": (AIM, {"stages": 2, "tau": "auto"}),
    "BottomUp[2]": (BottomUp, {"stages": 2}),
}


class Stopwatch(Callback):
    """Time the steps of a training, and the bare backbone on the same batches."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone.train()
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.began = 0.0

    def on_train_batch_start(self, trainer: Trainer, method: Any, batch: Any, index: int) -> None:
        """Do the bare work first in every second step, then start the watch."""
        if index % 2:
            self._bare_work(batch)
        self.began = time.process_time()

    def on_after_backward(self, trainer: Trainer, method: Any) -> None:
        """Stop the watch behind the backward pass; a row without one stops here too, since its head learns."""
        self.ours.append(time.process_time() - self.began)

    def on_train_batch_end(self, trainer: Trainer, method: Any, outputs: Any, batch: Any, index: int) -> None:
        """Do the bare work afterwards in every other step."""
        if not index % 2:
            self._bare_work(batch)

    def _bare_work(self, batch: dict[str, torch.Tensor]) -> None:
        began = time.process_time()
        with torch.set_grad_enabled(not self.backbone.frozen):
            features = self.backbone(batch["image"])
        if not self.backbone.frozen:
            features[-1].mean().backward()
        self.bare.append(time.process_time() - began)


def measure(name: str, backbone: str, frozen: bool, image_size: int, batch_size: int, steps: int) -> None:
    """Print a row of the table."""
    kind, arguments = ROWS[name]
    data = SyntheticBirds(
        image_size=image_size, batch_size=batch_size, train_size=batch_size * (steps + WARM_UP), val_size=4, test_size=4
    )
    method = kind(
        backbone=backbone, weights=None, frozen_backbone=frozen, schedule="constant", warmup_epochs=0, **arguments
    )
    size = (image_size, image_size)
    bare = Backbone(backbone, 1, None, size, frozen).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    watch = Stopwatch(bare)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[watch],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(method, data)
    ours, work = (statistics.median(times[WARM_UP:]) for times in (watch.ours, watch.bare))
    kept = "frozen" if frozen else "learns"
    rate = batch_size / ours
    print(f"| {backbone} | {kept} | {name} | {work:.3f} | {ours:.3f} | {ours / work:.2f} | {rate:.0f} |", flush=True)


def main(image_size: int = 160, batch_size: int = 32, steps: int = 12) -> None:
    """Measure every row on two backbones, frozen and learning."""
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{image_size} px, batch of {batch_size}, {steps} steps, one thread, torch {torch.__version__}\n")
    print("| backbone | it | row | backbone alone [s] | training step [s] | ratio | images/s |")
    print("|---|---|---|---|---|---|---|")
    for backbone in ("tf_efficientnet_lite0", "resnet18"):
        for frozen in (True, False):
            for name in ROWS:
                measure(name, backbone, frozen, image_size, batch_size, steps)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
