from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from maskexp.callbacks import KeepCheckpoints, WholeFileCheckpointIO


class Scripted(LightningModule):
    """Logs given validation scores, one an epoch, and counts its steps in a weight."""

    def __init__(self, scores: list[float], key: str = "val/acc", annealed: int = 0) -> None:
        super().__init__()
        self.scores, self.key, self.annealed = scores, key, annealed
        self.weight = torch.nn.Parameter(torch.zeros(()))

    @property
    def settled(self) -> bool:
        return self.current_epoch >= self.annealed

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return -self.weight

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log(self.key, self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Split:
    """What the rule looks at."""

    def __init__(self, label: list[int], group: list[int]) -> None:
        self.label, self.group = np.array(label), np.array(group)


def fit(keeper: KeepCheckpoints, scores: list[float], **settings: Any) -> Trainer:
    loader = DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1)
    start, annealed = settings.pop("ckpt_path", None), settings.pop("annealed", 0)
    trainer = Trainer(
        **{"max_epochs": len(scores), "num_sanity_val_steps": 2} | settings,
        accelerator="cpu",
        callbacks=[keeper],
        plugins=[WholeFileCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scripted(scores, annealed=annealed), loader, loader, ckpt_path=start)
    return trainer


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.5, 0.3], 1),
        ([0.5, 0.5, 0.5], 0),  # ties: the earliest
        ([0.1, 0.2, 0.3], 2),
        ([math.nan, 0.2, math.nan], 1),
        ([math.nan, math.nan, math.nan], 0),
        ([0.0, 0.0, 0.1], 2),
    ],
)
def test_best_is_the_earliest_maximum(tmp_path: Path, scores: list[float], best: int) -> None:
    keeper = KeepCheckpoints(str(tmp_path), "acc")
    fit(keeper, scores)
    assert epoch_of(keeper.best) == keeper.epoch == best
    assert epoch_of(keeper.last) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(("annealed", "epochs", "best"), [(2, 4, 3), (2, 2, 1), (4, 4, 1), (0, 4, 1)])
def test_an_epoch_whose_target_is_still_annealed_is_chosen_only_while_there_is_no_other(
    tmp_path: Path, annealed: int, epochs: int, best: int
) -> None:
    keeper = KeepCheckpoints(str(tmp_path), "acc")
    fit(keeper, [0.1, 0.9, 0.2, 0.3], max_epochs=epochs, annealed=annealed)
    assert epoch_of(keeper.best) == keeper.epoch == best


def test_a_resumed_training_knows_whether_its_best_epoch_was_annealed(tmp_path: Path) -> None:
    keeper = KeepCheckpoints(str(tmp_path), "acc")
    fit(keeper, [0.9, 0.8, 0.1, 0.2], max_epochs=3, annealed=2)
    assert keeper.epoch == 2
    again = KeepCheckpoints(str(tmp_path), "acc")
    fit(again, [0.9, 0.8, 0.1, 0.2], annealed=2, ckpt_path=keeper.last)
    assert (again.epoch, again.score) == (3, pytest.approx(0.2))


def test_final_epoch_by_name(tmp_path: Path) -> None:
    keeper = KeepCheckpoints(str(tmp_path), "last")
    fit(keeper, [0.9, 0.1])
    assert epoch_of(keeper.best) == 1


def test_an_old_score_does_not_count_again(tmp_path: Path) -> None:
    """Epochs 0 and 2 are not validated: what epoch 1 scored must not be booked to epoch 2."""
    keeper = KeepCheckpoints(str(tmp_path), "val/acc")
    fit(keeper, [0.9, 0.2, 0.9, 0.8], check_val_every_n_epoch=2)
    assert keeper.epoch == 3
    assert keeper.score == pytest.approx(0.8)


def test_the_best_score_survives_a_resumption_in_a_moved_directory(tmp_path: Path) -> None:
    fit(KeepCheckpoints(str(tmp_path / "a"), "acc"), [0.1, 0.8, 0.3], max_epochs=2)
    (tmp_path / "a").rename(tmp_path / "b")
    keeper = KeepCheckpoints(str(tmp_path / "b"), "acc")
    loader = DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1)
    trainer = Trainer(max_epochs=3, accelerator="cpu", callbacks=[keeper], logger=False, enable_progress_bar=False)
    trainer.fit(Scripted([0.1, 0.8, 0.3]), loader, loader, ckpt_path=str(keeper.last))
    assert keeper.epoch == epoch_of(keeper.best) == 1
    assert epoch_of(keeper.last) == 2


def test_unknown_metric_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"selection\.metric is 'iou'; choose auto, last, acc"):
        fit(KeepCheckpoints(str(tmp_path), "iou"), [0.1])
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_in_a_fast_development_run(tmp_path: Path) -> None:
    fit(KeepCheckpoints(str(tmp_path), "acc"), [0.1], fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("label", "group", "rule"),
    [
        ([0, 0, 1, 1], [0, 1, 2, 3], "acc_worst_group"),
        ([0, 0, 1, 1], [0, 0, 3, 3], "acc"),  # class and group say the same
        ([0, 0, 1, 1], [0, 1, 3, 3], "acc"),  # a class in one group only
        ([0, 0, 1, 1], [-1, -1, -1, -1], "acc"),
        ([0, 0, 1, 1], [0, -1, 2, 3], "acc"),
    ],
)
def test_the_rule_by_default(tmp_path: Path, label: list[int], group: list[int], rule: str) -> None:
    class Data:
        def dataset(self, split: str) -> Split:
            assert split == "val"
            return Split(label, group)

    class FakeTrainer:
        datamodule, enable_validation = Data(), True
        check_val_every_n_epoch, max_epochs = 1, 1

    keeper = KeepCheckpoints(str(tmp_path))
    keeper.on_fit_start(FakeTrainer(), None)  # type: ignore[arg-type]
    assert keeper.rule == rule


def test_the_rule_without_validation_is_the_final_epoch(tmp_path: Path) -> None:
    keeper = KeepCheckpoints(str(tmp_path))
    fit(keeper, [0.9, 0.1], limit_val_batches=0)
    assert keeper.rule == "last"
    assert epoch_of(keeper.best) == 1


class ScoredBySteps(Scripted):
    """Has the score of the step that it is validated at."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log(self.key, self.scores[self.global_step])


@pytest.mark.parametrize(("best_step", "interval"), [(4, 0.4), (8, 0.4), (10, 0.5), (5, 0.5), (18, 0.4)])
def test_the_score_belongs_to_the_weights_with_validations_inside_an_epoch(
    tmp_path: Path, best_step: int, interval: float
) -> None:
    keeper = KeepCheckpoints(str(tmp_path), "acc")
    train, val = (DataLoader(TensorDataset(torch.zeros(size, 1)), batch_size=1) for size in (10, 1))
    trainer = Trainer(
        max_epochs=2,
        val_check_interval=interval,
        accelerator="cpu",
        callbacks=[keeper],
        plugins=[WholeFileCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    scores = [0.0] * 21
    scores[best_step] = 0.75
    trainer.fit(ScoredBySteps(scores), train, val)
    stored = torch.load(keeper.best, weights_only=True)
    assert stored["state_dict"]["weight"] == best_step  # each step adds 1
    assert (keeper.score, keeper.epoch) == (0.75, stored["epoch"])
    assert torch.load(keeper.last, weights_only=True)["state_dict"]["weight"] == 20


def test_a_validation_outside_of_a_training_keeps_nothing(tmp_path: Path) -> None:
    keeper = KeepCheckpoints(str(tmp_path))
    loader = DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1)
    trainer = Trainer(accelerator="cpu", callbacks=[keeper], logger=False, enable_progress_bar=False)
    trainer.validate(Scripted([0.5]), loader, verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_from_elsewhere_brings_no_best_score_along(tmp_path: Path) -> None:
    """There is no best.ckpt in the new directory, so that the first validated epoch is its best."""
    fit(KeepCheckpoints(str(tmp_path / "a"), "acc"), [0.9, 0.1], max_epochs=1)
    keeper = KeepCheckpoints(str(tmp_path / "b"), "acc")
    fit(keeper, [0.9, 0.1], ckpt_path=str(tmp_path / "a" / "last.ckpt"))
    assert epoch_of(keeper.best) == keeper.epoch == 1
    assert keeper.score == pytest.approx(0.1)


@pytest.mark.parametrize("metric", ["epg", "pxap_grad_cam", "val/epg"])
def test_a_metric_of_attributions_needs_foregrounds_in_val(tmp_path: Path, metric: str) -> None:
    class Data:
        def dataset(self, split: str) -> Any:
            return type("WithoutMasks", (), {"has_foreground": np.zeros(4, dtype=bool)})

    class FakeTrainer:
        datamodule, enable_validation = Data(), True
        check_val_every_n_epoch, max_epochs = 1, 1

    with pytest.raises(ValueError, match=r"no image of the validation split has a foreground .* select by another"):
        KeepCheckpoints(str(tmp_path), metric).on_fit_start(FakeTrainer(), None)  # type: ignore[arg-type]


def test_a_full_disk_is_a_sentence_and_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeFileCheckpointIO().save_checkpoint({"epoch": 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as if the disk were full behind this byte
    try:
        with pytest.raises(OSError, match=r"last\.ckpt cannot be written: its disk is full"):
            WholeFileCheckpointIO().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeFileCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        WholeFileCheckpointIO().save_checkpoint({"epoch": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
