"""A pass of a network over a whole split before a training, on all ranks together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from torch import Tensor

from maskexp.types import required_datamodule

__all__ = ["over_split"]


def over_split(trainer: Trainer, split: str, who: str, compute: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Return what ``compute`` says of each image of a split, in the order of its rows, the same on all ranks.

    Each rank looks at its share of the images, as evaluation sees them.

    Args:
        trainer: of a method with a datamodule.
        split: ``train``, ``val`` or any other.
        who: what needs the pass, for messages.
        compute: of images ``(B, 3, H, W)`` in [0, 1] and labels ``(B,)``, on the device of the trainer, and rows
            ``(B,)`` on the CPU; returns ``(B, …)``.

    Returns:
        ``(N, …)`` on the CPU.

    Raises:
        ValueError: if the trainer has no datamodule of ours.
    """
    data: Any = required_datamodule(trainer, who)
    if not hasattr(data, "evaluation_loader"):
        raise ValueError(
            f"{who} looks at all images of {split} before it trains, for which it needs a datamodule of maskexp"
        )
    device = trainer.strategy.root_device
    rows, found = [], []
    for batch in data.evaluation_loader(split):
        images = batch["image"].to(device).to(torch.float32) / 255
        rows.append(batch["index"].clone())
        found.append(compute(images, batch["label"].to(device), batch["index"]).cpu())
    shares: list[Any] = [(torch.cat(rows), torch.cat(found))]
    if dist.is_available() and dist.is_initialized():
        shares = [None] * dist.get_world_size()
        dist.all_gather_object(shares, (torch.cat(rows), torch.cat(found)))
    order = torch.cat([share[0] for share in shares]).argsort()
    return torch.cat([share[1] for share in shares])[order]
