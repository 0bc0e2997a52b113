"""Two processes on half a batch each have the gradients of one process on the whole batch.

Whatever a loss says of a batch as a whole (the active fraction of a stage, a budget of MACs, a hinge) has to be said of
the batch of all ranks. Each such loss is also tested with the fault planted: said of a rank's own part, it has to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import maskexp.methods
from maskexp.data import SyntheticBirds
from maskexp.masking import objectives
from maskexp.methods import Method, comet, group_dro
from maskexp.types import Batch
from tests.distributed import run_ranks

SAMPLES = 16
COMET = {"selector": "small_convnet", "selector_stride": 4}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ERM": ("ERM", {}),
    "AIM": ("AIM", {"anneal_fraction": 0.0}),
    "AIM without a target": ("AIM", {"tau": "auto"}),
    "BCos": ("BCos", {}),
    "MaskedClassifier": ("MaskedClassifier", {"cell": 4}),
    "REALX": ("REALX", COMET),
    "REALX as COMET releases it": (
        "REALX",
        {**COMET, "estimator": "relaxed", "temperature": 1.0, "grid": "pixels", "target": "classifier"},
    ),
    "RBAEM": ("RBAEM", {"decoder_width": 8, "encoder_stages": 3}),
    "RTSaliency": ("RTSaliency", {"decoder_width": 8, "encoder_stages": 3}),
    "BottomUp": ("BottomUp", {"anneal_fraction": 0.0}),
    "CAD": ("CAD", {}),
    "DiET": ("DiET", {}),
    "DynConv": ("DynConv", {}),
    "GroupDRO": ("GroupDRO", {"step_size": 1.0, "adjustment": 2.0}),
    "COMET": ("COMET", {**COMET, "detector": "none"}),
    "COMET-TD": ("COMET", {**COMET, "detector": "trainable"}),
    "COMET with the hinge": ("COMET", {**COMET, "detector": "trainable", "objective": "hinge", "gap": 0.1}),
}
PLANTED = {
    "AIM": "active_fractions",
    "BottomUp": "active_fractions",
    "CAD": "active_fractions",
    "DynConv": "active_fractions",
    "COMET with the hinge": "_mean_over_ranks",
    "GroupDRO": "_over_ranks",
}
"""What is said of the whole batch, by method: the function that would hide a fault."""


class Loss(nn.Module):
    """The loss of a batch as the forward pass, which is what ``DistributedDataParallel`` synchronises."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        terms = self.method.objective(self.method(batch["image"]), batch)
        return torch.stack(list(terms.values())).sum()


def made(name: str, options: dict[str, Any], data: SyntheticBirds) -> Method:
    """A method in float64 with frozen batch norms."""
    torch.manual_seed(0)
    method: Method = getattr(maskexp.methods, name)(backbone="test_resnet", weights=None, **options)
    method.trainer = Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    method.build(data.spec)
    method.double().train()
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    for key, parameter in method.named_parameters():
        if key.endswith("logits.bias"):  # by default the estimators let everything through, whatever the noise
            nn.init.zeros_(parameter)
    return method


def divide_by_the_hinge(method: Method, batch: Batch) -> None:
    """Choose a gap at which the hinge is active for the first half of the batch or the second, and for the whole."""
    margins: list[float] = []

    def note(margin: Tensor) -> Tensor:
        margins.append(float(margin))
        return margin

    chosen: Any = method
    chosen.gap = 0.0
    with mock.patch.object(comet, "_mean_over_ranks", note):
        for share in (slice(None, SAMPLES // 2), slice(SAMPLES // 2, None)):
            Loss(method)({key: value[share] for key, value in batch.items()})  # type: ignore[attr-defined]
    chosen.gap = 0.25 * abs(margins[0] - margins[1]) - sum(margins) / 2


def joined_batch(data: SyntheticBirds) -> Batch:
    """Sixteen images, the first eight of them dark: halves on which a loss of a whole batch differs."""
    batch = data.fetch("train", range(SAMPLES))
    batch["image"] = batch["image"].double()
    batch["image"][: SAMPLES // 2] *= 0.2
    return batch


@contextmanager
def noise_of_each_sample(first: int) -> Iterator[None]:
    """Every sample has noise of its own, wherever it is computed: little in the first half, much in the second.

    So the masks of the two halves differ, without which no loss of a whole batch could be told from one of its parts.

    Args:
        first: position in the joined batch of the first sample at hand.
    """

    def drawn(like: Tensor, **_: Any) -> Tensor:
        grid = torch.rand((SAMPLES, *like.shape[1:]), generator=torch.Generator().manual_seed(0), dtype=like.dtype) / 2
        grid[SAMPLES // 2 :] += 0.5
        return grid[first : first + len(like)]

    with mock.patch("torch.rand_like", drawn), mock.patch("torch.randn_like", drawn):
        yield


@contextmanager
def planted(function: str | None) -> Iterator[None]:
    """Let ``function`` look at this rank's part of the batch alone."""
    if function == "_mean_over_ranks":
        with mock.patch.object(comet, function, lambda value: value):
            yield
    elif function == "_over_ranks":
        with mock.patch.object(group_dro, function, lambda values: values):
            yield
    elif function is not None:
        with mock.patch.object(objectives.dist, "is_initialized", return_value=False):
            yield
    else:
        yield


def gradients(rank: int, world_size: int, variant: str, fault: str | None = None) -> Tensor:
    name, options = VARIANTS[variant]
    data = SyntheticBirds(correlation=0.75, image_size=32, train_size=SAMPLES, val_size=8, test_size=12, batch_size=8)
    method, batch = made(name, options, data), joined_batch(data)
    share = slice(rank * SAMPLES // world_size, (rank + 1) * SAMPLES // world_size)
    part: Any = {key: value[share] for key, value in batch.items()}  # type: ignore[attr-defined]
    if options.get("objective") == "hinge":
        divide_by_the_hinge(method, batch)
    loss: nn.Module = Loss(method)
    if world_size > 1:
        loss = DistributedDataParallel(loss)
    with noise_of_each_sample(share.start), planted(fault):
        loss(part).backward()
    learned = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in learned), "unused parameters would hang DDP"
    return torch.cat([parameter.grad.flatten() for parameter in learned if parameter.grad is not None])


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_have_the_gradients_of_one(variant: str) -> None:
    alone = gradients(0, 1, variant)
    for shared in run_ranks(gradients, 2, variant, timeout=120):
        assert difference(alone, shared) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("variant", PLANTED)
def test_a_loss_of_each_rank_s_own_part_would_show(variant: str) -> None:
    alone = gradients(0, 1, variant)
    faulty = run_ranks(gradients, 2, variant, PLANTED[variant], timeout=120)
    assert difference(alone, faulty[0]) > 1e-6
