from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from maskexp.callbacks.gallery import Gallery, choose_samples, gallery_rows
from maskexp.data import SyntheticBirds
from maskexp.types import Batch, Prediction


class Split:
    def __init__(self, group: list[int], label: list[int] | None = None) -> None:
        self.group = np.array(group)
        self.label = np.array(label if label is not None else group)


def test_samples_of_every_group_spread_over_its_members() -> None:
    split = Split([0] * 10 + [1] * 3 + [3] * 5)
    assert choose_samples(split, 2) == [0, 9, 10, 12, 13, 17]
    assert choose_samples(split, 2) == choose_samples(split, 2)


def test_small_groups_give_what_they_have() -> None:
    assert choose_samples(Split([0, 1, 1, 1]), 3) == [0, 1, 2, 3]


def test_classes_where_there_are_no_groups() -> None:
    assert choose_samples(Split([-1] * 4, [0, 1, 0, 1]), 1) == [0, 1]


def test_many_groups_are_thinned_out() -> None:
    chosen = choose_samples(Split(list(range(1000)) * 2), 4)
    assert len(chosen) == len(set(chosen)) == 16
    assert {0, 999} <= set(chosen)


@pytest.mark.parametrize("settings", [{"every_n_epochs": -1}, {"samples_per_group": 0}])
def test_settings_that_make_no_sense(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="have to be at least 0 and 1"):
        Gallery("gallery", **settings)


def test_rows_say_what_the_model_said() -> None:
    data = SyntheticBirds(image_size=16, train_size=8, val_size=8, test_size=4)
    indices = choose_samples(data.dataset("val"), 1)
    batch = data.fetch("val", indices)
    logits = torch.tensor([[2.0, 0.0]] * len(indices))
    coarse = torch.ones(len(indices), 1, 2, 2)
    rows = gallery_rows(batch, Prediction(logits, {"own": coarse}, (coarse,), "nearest"), data.spec)
    assert [row.group for row in rows] == list(data.spec.group_names)
    assert [row.label for row in rows] == ["landbird", "landbird", "waterbird", "waterbird"]
    assert all(row.predicted == "landbird" for row in rows)
    assert rows[0].probability == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)
    assert rows[0].attribution is not None
    assert rows[0].attribution.shape == (16, 16)
    assert rows[0].masks[0].shape == (2, 2)


class Recorder(TensorBoardLogger):
    """A logger that keeps images to itself."""

    def __init__(self) -> None:
        self.images: list[tuple[str, Any]] = []

    @property
    def experiment(self) -> Any:
        return self

    def add_image(self, key: str, image: Any, step: int, time: None, layout: str) -> None:
        self.images.append((key, image))


class FakeTrainer:
    """As much of a trainer as a gallery looks at."""

    def __init__(self, fn: str, epoch: int, sanity: bool = False) -> None:
        self.current_epoch, self.max_epochs, self.sanity_checking, self.global_step = epoch, 8, sanity, 0
        self.state = type("State", (), {"fn": fn})
        self.datamodule = SyntheticBirds(image_size=16, train_size=8, val_size=4, test_size=4)
        self.loggers = [Recorder()]
        self.precision_plugin = type("Plugin", (), {"forward_context": lambda self: torch.no_grad()})()


class FakeMethod:
    device = torch.device("cpu")

    def explain_batch(self, batch: Batch) -> Prediction:
        images = batch["image"]
        return Prediction(images.mean(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, -1.0]), {"own": images[:, :1]})


@pytest.mark.parametrize(
    ("fn", "epoch", "sanity", "names"),
    [
        ("fit", 0, False, ["epoch_000.png"]),
        ("fit", 0, True, []),
        ("fit", 1, False, []),
        ("fit", 3, False, ["epoch_003.png"]),
        ("fit", 7, False, ["epoch_007.png"]),
        ("validate", 5, False, ["val.png"]),
    ],
)
def test_when_it_draws(tmp_path: Path, fn: str, epoch: int, sanity: bool, names: list[str]) -> None:
    trainer: Any = FakeTrainer(fn, epoch, sanity)
    Gallery(str(tmp_path), every_n_epochs=3).on_validation_end(trainer, FakeMethod())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == names
    assert [key for key, _ in trainer.loggers[0].images] == ["gallery/val"] * len(names)


def test_the_image_in_the_logger_is_the_one_on_disk(tmp_path: Path) -> None:
    trainer: Any = FakeTrainer("test", 2)
    Gallery(str(tmp_path)).on_test_end(trainer, FakeMethod())  # type: ignore[arg-type]
    ((key, logged),) = trainer.loggers[0].images
    assert key == "gallery/test"
    assert np.array_equal(np.asarray(logged), np.asarray(Image.open(tmp_path / "test.png")))


def test_switched_off(tmp_path: Path) -> None:
    gallery, trainer = Gallery(str(tmp_path), every_n_epochs=0), FakeTrainer("test", 0)
    gallery.on_test_end(trainer, FakeMethod())  # type: ignore[arg-type]
    gallery.on_validation_end(trainer, FakeMethod())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
