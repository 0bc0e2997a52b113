"""Lightning's callbacks that need the network at the start, or change a setting there, work or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    EMAWeightAveraging,
    LearningRateFinder,
    StochasticWeightAveraging,
)

from maskexp.data import SyntheticBirds
from maskexp.methods import ERM

SMALL = {"backbone": "small_convnet", "weights": None}


def test_stochastic_weight_averaging_ends_with_the_mean_of_the_weights(
    birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    averaging = StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1, annealing_epochs=1)
    method = ERM(**SMALL)
    trainer(max_epochs=3, callbacks=[averaging]).fit(method, birds)
    plain = ERM(**SMALL)
    trainer(max_epochs=3).fit(plain, birds)
    assert not torch.equal(method.network.network.head.weight, plain.network.network.head.weight)
    assert torch.isfinite(method.network.network.head.weight).all()


def test_a_moving_average_is_what_a_checkpoint_holds(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    run = trainer(callbacks=[EMAWeightAveraging(decay=0.5)])
    method = ERM(**SMALL)
    run.fit(method, birds)
    run.save_checkpoint(tmp_path / "averaged.ckpt")
    weights = torch.load(tmp_path / "averaged.ckpt", weights_only=True)["state_dict"]
    assert weights.keys() == method.state_dict().keys()


def test_a_callback_that_unfreezes_the_backbone_is_refused_at_the_start(
    birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    with pytest.raises(ValueError, match=r"BackboneFinetuning freezes .* give --model\.frozen_backbone true"):
        trainer(callbacks=[BackboneFinetuning()]).fit(ERM(**SMALL), birds)


@pytest.mark.parametrize("backbone_lr", [1e-4, 1e-3])
def test_a_learning_rate_that_was_found_is_used_under_a_schedule(
    backbone_lr: float, birds: SyntheticBirds, trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning.pytorch.tuner.lr_finder._LRFinder.suggestion", lambda *_, **__: 0.125)
    method = ERM(**SMALL, lr=1e-3, backbone_lr=backbone_lr)
    run = trainer(callbacks=[LearningRateFinder(num_training_steps=2)])
    run.fit(method, birds)
    peaks = {group["initial_lr"] for group in run.optimizers[0].param_groups}
    assert peaks == ({0.125} if backbone_lr == 1e-3 else {0.125, backbone_lr})
    assert method.hparams["lr"] == 0.125
