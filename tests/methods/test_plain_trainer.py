"""A method trains under a plain trainer, on loaders that yield batches of the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from torch.utils.data import DataLoader

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, ERM, CheckpointError, load_method

SMALL: dict[str, Any] = {"backbone": "small_convnet", "weights": None}


@pytest.fixture
def loader(birds: SyntheticBirds) -> DataLoader[Any]:
    rows = [{key: value[0] for key, value in birds.fetch("train", [i]).items()} for i in range(8)]  # type: ignore[index]
    return DataLoader(rows, batch_size=4)  # type: ignore[arg-type]


def test_a_method_that_is_told_its_data_trains_and_its_checkpoint_is_enough(
    birds: SyntheticBirds, loader: DataLoader[Any], trainer: Callable[..., Trainer], tmp_path: Any
) -> None:
    method, run = AIM(spec=birds.spec, **SMALL), trainer()
    run.fit(method, loader)
    run.save_checkpoint(tmp_path / "plain.ckpt")

    loaded = load_method(tmp_path / "plain.ckpt")

    images = birds.fetch("test", [0, 1])["image"]
    assert loaded.spec == birds.spec
    assert torch.equal(loaded(images).logits, method.eval()(images).logits)


def test_a_method_that_is_not_told_its_data_says_what_is_missing(
    loader: DataLoader[Any], trainer: Callable[..., Trainer]
) -> None:
    with pytest.raises(ValueError, match=r"AIM does not know classes and image size of its data: give it spec="):
        trainer().fit(AIM(**SMALL), loader)


def test_a_specification_that_is_not_the_datamodules_is_refused(
    birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    other = dataclasses.replace(birds.spec, class_names=("cat", "dog"))
    with pytest.raises(CheckpointError, match=r"2 classes of synthetic_birds \(cat, dog\)"):
        trainer().fit(ERM(spec=other, **SMALL), birds)


@pytest.mark.parametrize(
    "callback",
    [
        lambda: EMAWeightAveraging(decay=0.5),
        lambda: StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1),
    ],
    ids=["EMA", "SWA"],
)
def test_callbacks_that_need_the_network_at_the_start_find_it(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], callback: Callable[[], Any]
) -> None:
    method = ERM(schedule="constant", warmup_epochs=0, **SMALL)
    method.build(birds.spec)
    trainer(max_epochs=2, callbacks=[callback()]).fit(method, birds)
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
