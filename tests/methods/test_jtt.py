"""JTT: its error set, how often images come, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from maskexp.data import SyntheticBirds
from maskexp.methods import ERM, JTT, load_method
from maskexp.types import Batch

SMALL: dict[str, Any] = {"backbone": "test_resnet", "weights": None}


@pytest.fixture
def first(birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Path) -> Path:
    """The checkpoint of a first network that gets some training images wrong and some right."""
    torch.manual_seed(0)
    method = ERM(**SMALL)
    run = trainer()
    run.fit(method, birds)
    batch = birds.fetch("train", range(len(birds.dataset("train"))))
    logits = method.eval()(batch["image"]).logits
    with torch.no_grad():  # half of the images on either side of the decision
        method.network.network.fc.bias[1] += (logits[:, 0] - logits[:, 1]).median()
    run.save_checkpoint(tmp_path / "first.ckpt")
    return tmp_path / "first.ckpt"


def errors_of(checkpoint: Path, birds: SyntheticBirds) -> np.ndarray:
    """Image by image."""
    method, wrong = load_method(checkpoint), []
    for row in range(len(birds.dataset("train"))):
        batch = birds.fetch("train", [row])
        wrong.append(int(method(batch["image"]).logits.argmax()) != int(batch["label"]))
    return np.array(wrong)


class Seeing(JTT):
    """Remembers which rows it was trained on."""

    rows: list[int]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.rows = [*getattr(self, "rows", []), *batch["index"].tolist()]
        return super().training_step(batch, batch_idx)


def test_the_error_set_comes_as_often_as_asked_and_all_others_once(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], first: Path
) -> None:
    errors = errors_of(first, birds)
    assert 0 < errors.sum() < len(errors)
    method = Seeing(**SMALL, upweight=3, identifier_checkpoint=str(first))
    run = trainer(max_epochs=2)
    with mock.patch.object(birds, "batch_size", 2):  # so that no incomplete batch is left out
        run.fit(method, birds)
    assert method.repeats is not None
    assert method.repeats.tolist() == np.where(errors, 3, 1).tolist()
    assert run.global_step == method.repeats.sum()
    seen = np.bincount(method.rows, minlength=len(errors))
    assert seen.tolist() == (2 * method.repeats).tolist()


def test_the_second_network_begins_anew(birds: SyntheticBirds, trainer: Callable[..., Trainer], first: Path) -> None:
    method = JTT(**SMALL, identifier_checkpoint=str(first), lr=0.0, backbone_lr=0.0)
    torch.manual_seed(5)
    trainer().fit(method, birds)
    torch.manual_seed(5)
    fresh = ERM(**SMALL)
    fresh.build(birds.spec, pretrained=True)
    assert torch.equal(method.network.network.fc.weight, fresh.network.network.fc.weight)


def test_a_resumed_training_repeats_the_same_images_without_the_first_network(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], first: Path, tmp_path: Path
) -> None:
    method = JTT(**SMALL, identifier_checkpoint=str(first))
    run = trainer()
    run.fit(method, birds)
    run.save_checkpoint(tmp_path / "jtt.ckpt")
    first.unlink()
    again = JTT(**SMALL, identifier_checkpoint=str(first))
    resumed = trainer(max_epochs=2)
    resumed.fit(again, birds, ckpt_path=tmp_path / "jtt.ckpt", weights_only=True)
    assert method.repeats is not None
    assert again.repeats is not None
    assert again.repeats.tolist() == method.repeats.tolist()
    assert resumed.global_step == 2 * run.global_step


def test_a_first_network_without_mistakes_is_of_no_use(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], first: Path
) -> None:
    right = np.zeros(len(birds.dataset("train")), bool)
    with (
        mock.patch("maskexp.methods.jtt.over_split", return_value=torch.from_numpy(right)),
        pytest.raises(ValueError, match=r"gets all 16 training images right, .* fewer --model.identification_epochs"),
    ):
        trainer().fit(JTT(**SMALL, identifier_checkpoint=str(first)), birds)


def test_loaders_that_repeat_nothing_are_refused(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], first: Path
) -> None:
    loader = DataLoader(birds.dataset("train"), batch_size=4)
    method = JTT(**SMALL, identifier_checkpoint=str(first), spec=birds.spec)
    with pytest.raises(ValueError, match="JTT needs a datamodule"):
        Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False).fit(method, loader)


def test_another_order_is_refused(trainer: Callable[..., Trainer], first: Path) -> None:
    data = SyntheticBirds(
        image_size=32, train_size=16, val_size=8, test_size=8, batch_size=8, correlation=0.75, sampling="group_balanced"
    )
    with pytest.raises(ValueError, match="JTT says how often an epoch shows each image, and so does sampling"):
        trainer().fit(JTT(**SMALL, identifier_checkpoint=str(first)), data)


@pytest.mark.parametrize("arguments", [{"upweight": 0}, {"identification_epochs": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        JTT(**SMALL, **arguments)
