"""DiET: its distance by hand, its descent, its rounds, and the masks in its checkpoint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.data.transforms import TrainTransform
from maskexp.methods import ERM, DiET, load_method
from maskexp.methods.diet import round_settings
from maskexp.models.diet import DiETNetwork, distance, show
from maskexp.types import Batch, DataSpec

SMALL: dict[str, Any] = {"backbone": "small_convnet", "explain_steps": 3}
SMALL_FLAGS = [
    *("--model=DiET", "--model.backbone=small_convnet", "--model.weights=null", "--model.explain_steps=2"),
    *("--model.classifier_epochs=1", "--data=SyntheticBirds", "--data.image_size=32", "--data.train_size=24"),
    *("--data.val_size=8", "--data.test_size=12", "--data.train_transform.crop_scale=null"),
    *("--data.train_transform.flip=0", "--trainer.max_epochs=10", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--gallery.every_n_epochs=0"),
]
ROOT = Path(__file__).resolve().parents[2]
SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def built(**options: Any) -> tuple[DiET, DiETNetwork, Batch]:
    torch.manual_seed(0)
    method = DiET(**{**SMALL, **options})
    method.build(SPEC)
    method.trainer = Trainer(max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False)
    method.train()
    batch: Any = {"image": torch.rand(4, 3, 32, 32), "label": torch.arange(4), "index": torch.arange(4)}
    network = method.network
    assert isinstance(network, DiETNetwork)
    return method, network, batch


def test_the_distance_is_summed_over_classes_and_averaged_over_images() -> None:
    ours, theirs = torch.tensor([[0.6, 0.4], [0.5, 0.5]]), torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    assert distance(ours.log(), theirs.log()).item() == pytest.approx(0.2)


def test_rounds_ask_for_less_and_round_less_upwards() -> None:
    settings = [round_settings(number) for number in range(5)]
    assert [round(weight, 2) for weight, _ in settings] == [1, 0.82, 0.64, 0.46, 0.28]
    kept = torch.tensor([0.11, 0.19, 0.27, 0.35, 0.43])
    for number, (_, shift) in enumerate(settings):  # a cell stays if it is above 0.1, 0.18, 0.26, 0.34, 0.42
        assert torch.equal((kept + shift).round() > 0.5, torch.arange(5) >= number)


def test_phases_take_turns() -> None:
    method, _, _ = built()
    method.trainer.fit_loop.max_epochs = 20
    seen = []
    for epoch in range(20):
        with mock.patch.object(DiET, "current_epoch", epoch):
            seen.append(method.phase)
    assert seen == [(number // 2, number % 2 == 0) for number in range(10) for _ in range(2)]


def test_a_step_of_the_descent_is_the_gradient_s_and_stays_in_bounds() -> None:
    _, network, batch = built(mask_lr=0.1)
    network.eval()
    images, mask = batch["image"], torch.full((4, 1, 8, 8), 0.5)
    whole = network.student(images).logits.softmax(dim=1).detach()
    colour = torch.full((4, 3, 1, 1), 0.4)
    after, loss = network.descend(images, mask, whole, colour, 0.7)
    leaf = mask.clone().requires_grad_()
    probability = network.student(show(images, leaf, colour)).logits.softmax(dim=1)
    expected = (probability - whole).abs().sum(dim=1) + 0.7 * leaf.mean(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    assert torch.allclose(loss, expected)
    assert torch.allclose(after, (mask - 0.1 * 64 * gradient).clamp(0, 1), atol=1e-6)
    far, _ = network.descend(images, mask, whole, colour, 1e4)
    assert torch.equal(far, torch.zeros_like(far))


def test_the_mask_of_an_image_does_not_depend_on_its_batch_or_on_chance() -> None:
    method, network, batch = built()
    method.eval()
    torch.manual_seed(1)
    with torch.inference_mode():
        together = network.find(batch["image"])
    torch.manual_seed(2)
    alone = torch.cat([network.find(image[None]) for image in batch["image"]])
    assert together.shape == (4, 1, 8, 8)
    assert torch.allclose(together, alone, atol=1e-4)
    assert (together < 1).any()


def test_the_student_learns_and_the_teacher_stays() -> None:
    method, network, batch = built()
    method.masks = torch.rand(4, 1, 8, 8)
    terms = method.objective(method(batch["image"]), batch)
    assert terms.keys() == {"loss_teacher", "loss_masked"}
    sum(terms.values()).backward()  # type: ignore[union-attr]
    learned = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert learned == {"student"}


@pytest.mark.slow
def test_two_processes_keep_the_same_masks(tmp_path: Path) -> None:
    flags = [
        *SMALL_FLAGS,
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--data.batch_size=4",
        f"--run_dir={tmp_path / 'r'}",
    ]
    command = [sys.executable, "-m", "maskexp", "fit", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    masks = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)["training_masks"]
    assert len(masks) == 24
    assert (masks < 1).flatten(1).any(dim=1).all(), "the first process knows what the second one learned"


@pytest.fixture(scope="module")
def still() -> SyntheticBirds:
    transform = TrainTransform(crop_scale=None, flip=0.0)
    sizes = {"train_size": 16, "val_size": 8, "test_size": 12, "batch_size": 8}
    return SyntheticBirds(correlation=0.75, image_size=32, train_transform=transform, **sizes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def classifier(still: SyntheticBirds, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("classifier") / "erm.ckpt"
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    run = Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet)
    run.fit(ERM(backbone="small_convnet", weights=None), still)
    run.save_checkpoint(path)
    return str(path)


def test_masks_and_student_learn_in_turn_and_masks_lie_in_the_checkpoint(
    classifier: str, still: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Any
) -> None:
    teacher = load_method(classifier).network.state_dict()
    run, method = trainer(max_epochs=10, check_val_every_n_epoch=10), DiET(**SMALL, classifier_checkpoint=classifier)
    weights: list[float] = []
    areas: list[float] = []
    noted = method.on_train_epoch_end

    def note() -> None:
        noted()
        network = method.network
        assert isinstance(network, DiETNetwork)
        assert method.masks is not None
        weights.append(float(network.student.network.head.weight.detach().square().sum()))
        areas.append(float(method.masks.mean()))

    method.on_train_epoch_end = note  # type: ignore[method-assign]
    run.fit(method, still)
    for epoch in range(1, 10):
        assert (weights[epoch] != weights[epoch - 1]) == (epoch % 2 == 1)
        assert (areas[epoch] != areas[epoch - 1]) == (epoch % 2 == 0)
    assert 0 < areas[-1] < 1
    run.save_checkpoint(tmp_path / "diet.ckpt")
    again = load_method(tmp_path / "diet.ckpt")
    assert isinstance(again, DiET)
    assert torch.equal(again.masks, method.masks)  # type: ignore[arg-type]
    kept = {name: value for name, value in again.network.state_dict().items() if name.startswith("teacher.")}
    assert all(torch.equal(value, teacher[name.removeprefix("teacher.")]) for name, value in kept.items())
    assert {"val/mask_area", "val/pxap"} <= set(run.callback_metrics)


def test_what_does_not_fit_is_refused(
    classifier: str, still: SyntheticBirds, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    method = DiET(**SMALL, classifier_checkpoint=classifier)
    with pytest.raises(ValueError, match=r"which 4 epochs are too few for; give --trainer\.max_epochs 10 or more"):
        trainer(max_epochs=4).fit(method, still)
    with pytest.raises(ValueError, match=r"training moves the pixels: give --data\.train_transform\.crop_scale null"):
        trainer(max_epochs=10).fit(DiET(**SMALL, classifier_checkpoint=classifier), birds)
    with pytest.raises(ValueError, match="DiET begins with a trained classifier: give classifier_checkpoint"):
        trainer(max_epochs=10).fit(DiET(**SMALL), still)
    with pytest.raises(ValueError, match="mask_lr is 0"):
        DiET(mask_lr=0.0)
