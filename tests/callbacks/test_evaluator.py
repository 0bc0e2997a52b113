"""The evaluator: what is counted on which split, and how exactly it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from maskexp.callbacks import Evaluator
from maskexp.data import SyntheticBirds
from maskexp.evaluation import Evaluation, Fidelity, Localization, MaskLeakage
from maskexp.methods import ERM, InputMasked, Method
from maskexp.types import DataSpec

SMALL = {"backbone": "small_convnet", "weights": None}
BIRDS = {"correlation": 0.75, "image_size": 32, "train_size": 16, "val_size": 8, "test_size": 12, "batch_size": 8}


@pytest.fixture(scope="module")
def birds() -> SyntheticBirds:
    return SyntheticBirds(**BIRDS)  # type: ignore[arg-type]


def trainer(folder: Path, *callbacks: object) -> Trainer:
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        default_root_dir=folder,
        callbacks=list(callbacks),  # type: ignore[arg-type]
    )


def built(method: Method, birds: SyntheticBirds) -> Method:
    torch.manual_seed(0)
    method.build(birds.spec)
    return method.eval()


def measured(folder: Path, method: Method, birds: SyntheticBirds, *evaluations: Evaluation) -> dict[str, float]:
    run = trainer(folder, Evaluator(evaluations))
    run.test(method, birds, verbose=False)
    return {name: value.item() for name, value in run.callback_metrics.items()}


def test_values_are_recorded_as_float64(birds: SyntheticBirds, tmp_path: Path) -> None:
    values = measured(tmp_path, built(ERM(**SMALL), birds), birds)  # type: ignore[arg-type]
    # 3 images in each of the 4 groups: thirds have no short float32
    exact = {0.0, 1 / 3, 2 / 3, 1.0}
    assert {values[f"test/acc_group/{name}"] for name in birds.spec.group_names} <= exact
    assert values["test/acc_worst_group"] in exact
    assert values["test/acc"] == sum(values[f"test/acc_group/{name}"] for name in birds.spec.group_names) / 4


def test_monitors_see_the_values_while_a_model_trains(birds: SyntheticBirds, tmp_path: Path) -> None:
    stopping = EarlyStopping("val/acc_worst_group", mode="max")
    saving = ModelCheckpoint(tmp_path, monitor="val/epg", mode="max")
    run = trainer(tmp_path, Evaluator(), stopping, saving)
    run.fit(ERM(**SMALL), birds)  # type: ignore[arg-type]
    assert stopping.best_score == run.callback_metrics["val/acc_worst_group"]
    assert saving.best_model_score == run.callback_metrics["val/epg"]


def test_further_evaluations_judge_the_test_split_alone(birds: SyntheticBirds, tmp_path: Path) -> None:
    run = trainer(tmp_path, Evaluator([Localization(), Fidelity(every=4)]))
    method = built(ERM(**SMALL), birds)  # type: ignore[arg-type]
    (validated,) = run.validate(method, birds, verbose=False)
    assert "val/localization/epg" in validated  # it chooses a threshold on this split
    assert not any("fidelity" in name for name in validated)
    (values,) = run.test(method, birds, verbose=False)
    assert "test/localization/iou_threshold" in values
    assert "test/fidelity/grey/pipeline/05" in values


def test_further_evaluations_see_whole_images_whatever_the_method_hides(birds: SyntheticBirds, tmp_path: Path) -> None:
    plain: Method = built(ERM(**SMALL), birds)  # type: ignore[arg-type]
    hiding = built(InputMasked(hiding="black", hidden="foreground", **SMALL), birds)  # type: ignore[arg-type]
    hiding.load_state_dict(plain.state_dict())
    whole, hidden = (measured(tmp_path, method, birds, MaskLeakage(("black",))) for method in (plain, hiding))
    leakage = [name for name in whole if "mask_leakage" in name]
    assert whole["test/mask_leakage/n"] > 0
    assert {name: hidden[name] for name in leakage} == pytest.approx({n: whole[n] for n in leakage}, nan_ok=True)
    assert hidden["test/epg"] != whole["test/epg"]


class Refusing(Fidelity):
    """An evaluation that cannot judge any data."""

    def prepare(self, *arguments: object) -> None:
        raise ValueError("these data cannot be judged")


@pytest.mark.parametrize("evaluations", [[Refusing()], [Fidelity(), Refusing()]])
def test_what_the_test_cannot_ask_is_refused_before_the_training(
    evaluations: Sequence[Evaluation], birds: SyntheticBirds, tmp_path: Path
) -> None:
    run = trainer(tmp_path, Evaluator(evaluations))
    with pytest.raises(ValueError, match="these data cannot be judged"):
        run.fit(ERM(**SMALL), birds)  # type: ignore[arg-type]
    assert run.global_step == 0


def test_an_evaluation_that_is_named_twice_is_refused(birds: SyntheticBirds, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two evaluations answer fidelity/"):
        measured(tmp_path, built(ERM(**SMALL), birds), birds, Fidelity(), Fidelity())  # type: ignore[arg-type]


def test_logits_that_are_not_finite_are_refused_whatever_the_data_has(birds: SyntheticBirds, tmp_path: Path) -> None:
    method = built(ERM(**SMALL), birds)  # type: ignore[arg-type]
    with torch.no_grad():
        next(method.network.parameters()).fill_(float("nan"))
    method.spec = DataSpec.from_dict(birds.spec.to_dict() | {"foreground": "none"})
    for stage in ("validate", "test", "predict"):
        run = trainer(tmp_path, Evaluator())
        with pytest.raises(ValueError, match=r"the logits of \d+ of \d+ images are NaN or infinite"):
            getattr(run, stage)(method, datamodule=birds)
