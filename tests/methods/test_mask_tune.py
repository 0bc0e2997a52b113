"""MaskTune: what it hides of a known heat map, where that lies in the file, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from maskexp.attribution import attribution_map
from maskexp.data import SyntheticBirds
from maskexp.methods import ERM, MaskTune, load_method
from maskexp.methods.mask_tune import MostAttended, most_attended
from maskexp.types import Batch

SMALL: dict[str, Any] = {"backbone": "small_convnet", "weights": None}


def test_of_a_known_heat_map_one_cell_exceeds_mean_and_two_deviations() -> None:
    heat = torch.tensor([[[[0.0, 0.1, 0.2], [0.3, 0.4, 1.0], [0.0, 0.0, 0.5]]]])
    values = np.array([0.1, 0.2, 0.3, 0.4, 1.0, 0.5])
    assert values.mean() + 2 * values.std() == pytest.approx(0.998808, abs=1e-6)
    assert most_attended(heat, (3, 3)).nonzero().tolist() == [[0, 1, 2]]
    assert most_attended(7 * heat + 3, (3, 3)).nonzero().tolist() == [[0, 1, 2]], "scale and offset do not matter"
    assert most_attended(heat, (3, 3), 1.0).sum() == 1
    assert most_attended(heat, (3, 3), 0.0).sum() == 2


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_of_a_constant_map_nothing_is_hidden(value: float) -> None:
    assert not most_attended(torch.full((2, 1, 4, 4), value), (8, 8)).any()


def test_it_is_numpys_threshold_on_the_enlarged_map() -> None:
    heat = torch.rand(5, 1, 7, 7, generator=torch.Generator().manual_seed(0)) ** 6
    heat -= heat.amin(dim=(2, 3), keepdim=True)
    full = torch.nn.functional.interpolate(heat, (32, 48), mode="bilinear")[:, 0].numpy()
    positive = np.where(full > 0, full, np.nan)
    threshold = np.nanmean(positive, axis=(1, 2)) + 2 * np.nanstd(positive, axis=(1, 2))
    expected = full > threshold[:, None, None]
    assert expected.any()
    np.testing.assert_array_equal(most_attended(heat, (32, 48)).numpy(), expected)


@pytest.fixture(scope="module")
def erm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ERM's checkpoint."""
    path = tmp_path_factory.mktemp("erm") / "erm.ckpt"
    torch.manual_seed(0)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)
    run.fit(ERM(**SMALL), birds_of(64))
    run.save_checkpoint(path)
    return path


def birds_of(size: int) -> SyntheticBirds:
    return SyntheticBirds(image_size=size, train_size=16, val_size=8, test_size=8, batch_size=8)


class Seeing(MaskTune):
    """Remembers the images that it was trained on."""

    images: dict[int, torch.Tensor]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        assert all(module.training for module in self.network.modules()), "statistics are learned again"
        self.images = getattr(self, "images", {}) | dict(zip(batch["index"].tolist(), batch["image"], strict=True))
        return super().training_step(batch, batch_idx)


def test_the_training_sees_the_images_without_what_the_classifier_looks_at_and_nobody_else_does(
    erm: Path, trainer: Callable[..., Trainer]
) -> None:
    still = {"crop_scale": None, "flip": 0.0}
    data = SyntheticBirds(
        image_size=64, train_size=16, val_size=8, test_size=8, batch_size=8,
        train_transform=_transform(**still),
    )  # fmt: skip
    method = Seeing(**SMALL, classifier_checkpoint=str(erm))
    run = trainer(max_epochs=7)
    run.fit(method, data)
    assert run.current_epoch == 1, "one epoch of fine-tuning, whatever the classifier was trained for"
    assert len(method.images) == 16

    classifier = load_method(erm)
    for row, seen in method.images.items():
        whole = data.fetch("train", [row])["image"]
        prediction = classifier(whole)
        target = prediction.logits.argmax(dim=1)
        heat = attribution_map("xgrad_cam")(classifier.network, whole, target, prediction.features)
        hidden = most_attended(heat, (64, 64))[0]
        torch.testing.assert_close(seen, torch.where(hidden, 0.0, whole[0]))
    assert any((seen == 0).all(dim=0).any() for seen in method.images.values())


def _transform(**arguments: Any) -> Any:
    from maskexp.data.transforms import TrainTransform

    return TrainTransform(**arguments)


def test_the_network_and_its_optimiser_go_on(erm: Path, trainer: Callable[..., Trainer]) -> None:
    method = MaskTune(**SMALL, classifier_checkpoint=str(erm), lr=0.0, backbone_lr=0.0)
    run = trainer()
    run.fit(method, birds_of(64))
    before = load_method(erm)
    for name, parameter in method.network.named_parameters():
        assert torch.equal(parameter, before.network.get_parameter(name)), "a rate of 0 moves nothing"
    steps = {int(state["step"]) for state in run.optimizers[0].state.values()}
    assert steps == {4}, "two of the classifier's, and two of its own"
    assert {group["lr"] for group in run.optimizers[0].param_groups} == {0.0}


def test_a_resumed_fine_tuning_hides_the_same_without_the_classifier(
    erm: Path, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    method = MaskTune(**SMALL, classifier_checkpoint=str(erm))
    run = trainer()
    run.fit(method, birds_of(64))
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = MaskTune(**SMALL, classifier_checkpoint=str(tmp_path / "gone.ckpt"), finetuning_epochs=2)
    resumed = trainer()
    resumed.fit(again, birds_of(64), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert resumed.global_step == 2 * run.global_step
    assert isinstance(method.hides, MostAttended)
    assert isinstance(again.hides, MostAttended)
    assert torch.equal(again.hides.heat_maps, method.hides.heat_maps)


def test_loaders_of_whole_images_and_unknown_maps_are_refused(erm: Path) -> None:
    data = birds_of(64)
    method = MaskTune(**SMALL, classifier_checkpoint=str(erm), spec=data.spec)
    with pytest.raises(ValueError, match="MaskTune needs a datamodule"):
        Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False).fit(
            method, DataLoader(data.dataset("train"), batch_size=4)
        )
    with pytest.raises(ValueError, match="there is no map called 'xgradcam'"):
        MaskTune(**SMALL, heat_map="xgradcam")
    with pytest.raises(ValueError, match="finetuning_epochs is 0"):
        MaskTune(**SMALL, finetuning_epochs=0)


# --- further rounds --------------------------------------------------------------------------------------------------


class Recording(MaskTune):
    """Remembers the images of each epoch, and the heat maps and weights at its start."""

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        assert self.hides is not None
        self.maps = [*getattr(self, "maps", []), self.hides.heat_maps.clone()]
        states = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.states = [*getattr(self, "states", []), states]
        self.seen: list[dict[int, torch.Tensor]] = [*getattr(self, "seen", []), {}]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen[-1] |= dict(zip(batch["index"].tolist(), batch["image"].clone(), strict=True))
        return super().training_step(batch, batch_idx)


def still_birds(num_workers: int = 0) -> SyntheticBirds:
    sizes = {"image_size": 64, "train_size": 16, "val_size": 8, "test_size": 8, "batch_size": 8}
    return SyntheticBirds(**sizes, num_workers=num_workers, train_transform=_transform(crop_scale=None, flip=0.0))


@pytest.mark.parametrize(("accumulate", "workers"), [(False, 0), (True, 0), (True, 1)])
def test_a_further_round_hides_what_the_tuned_classifier_looks_at(
    erm: Path, trainer: Callable[..., Trainer], accumulate: bool, workers: int
) -> None:
    data = still_birds(workers)
    method = Recording(
        **SMALL, classifier_checkpoint=str(erm), iterations=2, accumulate=accumulate, deviations=1.0, lr=0.01
    )
    run = trainer()
    run.fit(method, data)
    assert run.current_epoch == 2
    whole = data.fetch("train", list(range(16)))["image"]
    network = load_method(erm).network
    hidden: list[torch.Tensor] = []
    for epoch in range(2):
        if epoch:
            network.load_state_dict(method.states[1])
        looked_at = whole.masked_fill(hidden[0][:, None], 0) if accumulate and epoch else whole
        with torch.no_grad():
            prediction = network.eval()(looked_at)
        heat = attribution_map("xgrad_cam")(network, looked_at, prediction.logits.argmax(dim=1), prediction.features)
        hidden.append(most_attended(heat, (64, 64), 1.0))
    assert not torch.equal(hidden[0], hidden[1])
    if accumulate:
        hidden[1] = hidden[0] | hidden[1]
    for epoch, expected in enumerate(hidden):
        for row, image in method.seen[epoch].items():
            torch.testing.assert_close(image, whole[row].masked_fill(expected[row], 0))


def test_a_training_that_goes_on_between_two_rounds_ends_with_the_same_weights(
    erm: Path, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {**SMALL, "classifier_checkpoint": str(erm), "iterations": 3, "accumulate": True}
    torch.manual_seed(1)
    whole = Recording(**arguments)
    trainer().fit(whole, still_birds())
    torch.manual_seed(1)
    first, run = Recording(**arguments), trainer(limit_val_batches=0)
    first.on_train_epoch_end = lambda: setattr(run, "should_stop", True)  # type: ignore[method-assign]
    run.fit(first, still_birds())
    assert run.current_epoch == 1
    run.save_checkpoint(tmp_path / "a.ckpt")
    rest = Recording(**{**arguments, "classifier_checkpoint": str(tmp_path / "gone.ckpt")})
    trainer().fit(rest, still_birds(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert len(rest.maps) == 2
    assert torch.equal(rest.maps[-1], whole.maps[-1])
    for name, value in whole.network.state_dict().items():
        assert torch.equal(rest.network.state_dict()[name], value)


def test_rounds_that_are_none_or_add_to_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="iterations is 0"):
        MaskTune(**SMALL, iterations=0)
    with pytest.raises(ValueError, match="accumulate adds to what earlier rounds hide, and iterations is 1"):
        MaskTune(**SMALL, accumulate=True)
