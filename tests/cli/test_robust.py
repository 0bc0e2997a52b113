"""Methods and sampling that use group labels, through the real command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command
from tests.fixtures import write_csv

GROUP_DRO = ["--model=GroupDRO", *SMALL, "--data.sampling=group_balanced", "--gallery.every_n_epochs=0"]


def test_group_dro_trains_tests_and_says_what_it_was_told(tmp_path: Path, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    outcome = maskexp("fit", *GROUP_DRO, "--run_dir", run)
    assert outcome.code == 0, outcome.err
    assert {"val/acc_worst_group", "test/acc_worst_group", "test/acc_adjusted"} <= run.read_metrics().keys()
    assert run.read_env()["supervision"] == "group labels in training"
    (log,) = run.path.rglob("metrics.csv")
    assert "train/group_weight/landbird/land" in log.read_text().splitlines()[0]
    before = run.read_metrics()
    assert maskexp("test", "--run_dir", run, "--ckpt_path", "best", *CPU).code == 0
    assert run.read_metrics() == before


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--selection.metric=acc"], "none"),
        (["--selection.metric=acc_worst_group"], "group labels in validation"),
        (["--selection.metric=acc", "--data.sampling=group_balanced"], "group labels in training"),
    ],
)
def test_selection_and_sampling_count_as_supervision(
    flags: list[str], told: str, tmp_path: Path, maskexp: Command
) -> None:
    run = RunDirectory(tmp_path / "run")
    small = [*SMALL, "--trainer.max_epochs=1", "--test_after_fit=false", "--gallery.every_n_epochs=0"]
    assert maskexp("fit", "--model=ERM", *small, *flags, "--run_dir", run).code == 0
    assert run.read_env()["supervision"] == told


def test_group_dro_goes_on_from_its_last_checkpoint_as_if_it_had_never_stopped(
    tmp_path: Path, maskexp: Command
) -> None:
    states = []
    for name, parts in {"whole": [3], "parts": [1, 3]}.items():
        run = RunDirectory(tmp_path / name)
        for epochs in parts:
            going_on = ["--ckpt_path=last"] if run.holds_run else []
            flags = [*GROUP_DRO, "--model.schedule=constant", "--model.warmup_epochs=0", *going_on]
            outcome = maskexp("fit", *flags, f"--trainer.max_epochs={epochs}", "--run_dir", run)
            assert outcome.code == 0, outcome.err
        states.append(torch.load(run.checkpoints / "last.ckpt", weights_only=True))
    assert states[0]["global_step"] == states[1]["global_step"] == 9
    assert torch.equal(states[0]["group_weights"], states[1]["group_weights"])
    assert all(torch.equal(value, states[1]["state_dict"][key]) for key, value in states[0]["state_dict"].items())


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--model=GroupDRO"], "GroupDRO needs the group labels of the training images, and the data"),
        (["--model=ERM", "--data.sampling=group_balanced"], "sampling is group_balanced, but the data has no groups"),
    ],
)
def test_data_without_groups_is_refused_before_anything_is_written(
    flags: list[str], complaint: str, tmp_path: Path, maskexp: Command
) -> None:
    table = write_csv(tmp_path / "own", attribute=None)
    outcome = maskexp(
        *("fit", *flags, "--model.backbone=test_resnet", "--model.weights=null", *CPU),
        *("--data=Manifest", f"--data.csv={table}", "--data.image_size=32", "--run_dir", tmp_path / "r"),
    )
    assert outcome.code == 1
    assert complaint in outcome.complaint
    assert not (tmp_path / "r").exists()


def test_a_group_without_training_images_is_named(tmp_path: Path, maskexp: Command) -> None:
    flags = ["--data.correlation=1.0", "--run_dir", str(tmp_path / "r")]
    outcome = maskexp("fit", *GROUP_DRO, *flags)
    assert outcome.code == 1
    assert "landbird/water" in outcome.complaint
    assert "no training image" in outcome.complaint


def test_a_checkpoint_of_another_method_is_refused(trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", "--model", "GroupDRO", *CPU)
    assert outcome.code == 2
    assert outcome.complaint.strip().endswith("holds the model AIM, not GroupDRO")


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("GroupDRO", "group labels in training"),
        ("DFR", "group labels in validation"),
        ("JTT", "no group labels"),
        ("AIM", "no group labels"),
    ],
)
def test_the_help_says_what_a_method_is_told(method: str, told: str, maskexp: Command) -> None:
    assert f"[uses {told}]" in " ".join(maskexp("fit", "--model.help", method).out.split())


STAGED = {
    "MaskTune": (["--model.backbone=small_convnet", "--data.image_size=64"], "classifier", "none"),
    "JTT": (["--model.identification_epochs=1"], "identifier", "none"),
    "DFR": (["--model.fits=2"], "classifier", "group labels in validation"),
    "DFR on training images": (["--model.balanced=training"], "classifier", "group labels in training"),
}


@pytest.mark.parametrize("name", STAGED)
def test_methods_that_begin_with_an_erm_train_it_test_and_find_it_again(
    name: str, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags, role, told = STAGED[name]
    common = [f"--model={name.split()[0]}", *SMALL, *flags, "--data.correlation=0.6", "--selection.metric=acc"]
    outcome = maskexp("fit", *common, "--run_dir=a")
    assert outcome.code == 0, outcome.err
    (first,) = [RunDirectory(path) for path in tmp_path.glob(f"{role}s/erm-*")]
    assert f"training the {role} first" in outcome.err
    assert first.read_config()["selection"]["metric"] == ("last" if role == "identifier" else "acc")
    run = RunDirectory(tmp_path / "a")
    assert run.done
    assert run.read_env()["supervision"] == told
    assert {"val/acc_worst_group", "test/acc_worst_group"} <= run.read_metrics().keys()
    before = run.read_metrics()
    assert maskexp("test", "--run_dir=a", "--ckpt_path=best", *CPU).code == 0
    assert run.read_metrics() == before
    outcome = maskexp("fit", *common, "--run_dir=b", "--test_after_fit=false")
    assert outcome.code == 0, outcome.err
    assert "training the" not in outcome.err
    states = [torch.load(tmp_path / one / "checkpoints" / "last.ckpt", weights_only=True) for one in "ab"]
    assert all(torch.equal(value, states[1]["state_dict"][key]) for key, value in states[0]["state_dict"].items())


def test_dfr_on_data_without_groups_trains_no_classifier(
    tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = write_csv(tmp_path / "own", attribute=None)
    outcome = maskexp(
        *("fit", "--model=DFR", "--model.backbone=test_resnet", "--model.weights=null", *CPU),
        *("--data=Manifest", f"--data.csv={table}", "--data.image_size=32", "--run_dir=r"),
    )
    assert outcome.code == 1
    assert "DFR needs the group labels of the validation images, and the data" in outcome.complaint
    assert not (tmp_path / "classifiers").exists()
    assert not (tmp_path / "r").exists()


def test_a_classifier_of_another_method_is_refused(trained: RunDirectory, tmp_path: Path, maskexp: Command) -> None:
    given = f"--model.classifier_checkpoint={trained.checkpoints / 'best.ckpt'}"
    outcome = maskexp("fit", "--model=DFR", *SMALL, given, "--run_dir", tmp_path / "r")
    assert outcome.code == 1
    assert outcome.complaint.strip().endswith("holds the method AIM; DFR needs a classifier of ERM")


MIX = '{"mix": {"class_path": "torchvision.transforms.v2.MixUp", "init_args": {"num_classes": 2}}}'


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--model=JTT", "--data.sampling=group_balanced"], "JTT says how often an epoch shows each image"),
        (["--model=MaskTune", f"--data.train_transform={MIX}"], "MaskTune cannot learn from the soft labels"),
        (
            ["--model=MaskTune", '--data.eval_transform={"class_path": "torchvision.transforms.v2.Resize", '
             '"init_args": {"size": [32, 32]}}'],
            "cannot be told through a custom eval_transform",
        ),
    ],
)  # fmt: skip
def test_what_a_method_cannot_use_is_refused_before_its_first_training(
    flags: list[str], complaint: str, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = maskexp("fit", *SMALL, *flags, "--run_dir=r")
    assert outcome.code == 1
    assert complaint in outcome.complaint
    assert not list(tmp_path.iterdir())
