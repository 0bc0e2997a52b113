"""What a resumed training applies, refuses and says; what a refused command leaves as it was; what is fresh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maskexp.methods import ERM
from maskexp.methods.base import Method
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command

FEW = [flag for flag in SMALL if not flag.startswith(("--trainer.max_epochs", "--trainer.log"))]
FEW += ["--test_after_fit=false", "--gallery.every_n_epochs=0", "--trainer.log_every_n_steps=1"]
RATES = ["--model.lr=0.01", "--model.backbone_lr=0.01"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def four_epochs(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of four epochs of three steps; tests copy it."""
    from maskexp.cli.main import main

    run = RunDirectory(tmp_path_factory.mktemp("four") / "run")
    assert main(["fit", "--model=ERM", *FEW, *RATES, "--trainer.max_epochs=4", f"--run_dir={run}"]) == 0
    return run


@pytest.fixture
def run(four_epochs: RunDirectory, elsewhere: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(four_epochs.path, elsewhere / "run"))


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The learning rate of the first group in each step."""
    seen: list[float] = []

    def note(self: Method, batch: Any, batch_idx: int) -> None:
        seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(ERM, "on_train_batch_start", note, raising=False)
    return seen


def contents(run: RunDirectory) -> dict[str, bytes]:
    """Every file of a run but its logs."""
    files = sorted(path for path in run.path.rglob("*") if path.is_file())
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files if "logs" not in path.parts}


# --- steps and epochs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", ["30", "-1"])
def test_an_epoch_of_a_schedule_is_one_of_the_loader_also_where_steps_end_the_training(
    epochs: str, maskexp: Command, rates: list[float]
) -> None:
    flags = ["--model.lr=1.0", "--model.backbone_lr=1.0", f"--trainer.max_epochs={epochs}", "--trainer.max_steps=12"]
    flags += ["--model.schedule=constant"]
    assert maskexp("fit", "--model=ERM", *FEW, *flags, "--model.lr=1e-3", "--model.backbone_lr=1e-3").code == 0
    assert [round(rate / 1e-3, 4) for rate in rates] == [0.3333, 0.6667, *[1] * 10]


def test_milestones_are_epochs_of_the_loader_where_steps_end_the_training(maskexp: Command, rates: list[float]) -> None:
    flags = [
        "--trainer.max_epochs=30",
        "--trainer.max_steps=12",
        "--model.schedule=multistep",
        "--model.warmup_epochs=0",
    ]
    assert maskexp("fit", "--model=ERM", *FEW, *flags, "--model.milestones=[2,3]").code == 0
    assert [round(rate / 1e-4, 4) for rate in rates] == [*[1] * 6, *[0.1] * 3, *[0.01] * 3]


def test_accumulated_batches_make_fewer_steps_an_epoch(maskexp: Command, rates: list[float]) -> None:
    flags = ["--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=3", "--model.schedule=constant"]
    assert maskexp("fit", "--model=ERM", *FEW, *flags).code == 0
    assert [round(rate / 1e-4, 4) for rate in rates] == [0.5, 0.5, 1, 1, 1, 1, 1, 1, 1]


def test_epochs_of_annealing_end_where_steps_do(maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskexp.methods import AIM

    seen = []
    monkeypatch.setattr(AIM, "on_train_batch_end", lambda self, *args: seen.append(self.anneal_epochs), raising=False)
    flags = ["--trainer.max_epochs=30", "--trainer.max_steps=12", "--model.anneal_fraction=0.5"]
    assert maskexp("fit", "--model=AIM", *FEW, *flags).code == 0
    assert set(seen) == {2}, "half of the four epochs that twelve steps are"


# --- resumed: applied, or refused ------------------------------------------------------------------------------------


def test_another_learning_rate_is_in_force_when_it_is_recorded(
    run: RunDirectory, maskexp: Command, rates: list[float]
) -> None:
    flags = [
        "--run_dir=run",
        "--ckpt_path=last",
        "--trainer.max_epochs=6",
        "--model.lr=0.5",
        "--model.backbone_lr=0.25",
    ]
    outcome = maskexp("fit", *flags, "--model.schedule=constant")
    assert outcome.code == 0, outcome.err
    assert "model.lr: 0.5 instead of 0.01 (the interrupted run)" in outcome.err
    assert "what is scheduled in epochs or steps is planned anew" in outcome.err
    config = run.read_config()
    assert config["model"]["init_args"]["lr"] == 0.5
    groups = torch.load(run.checkpoints / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert sorted({group["lr"] for group in groups}) == [0.25, 0.5]
    assert set(rates) <= {0.25, 0.5}
    assert len(rates) == 6


def test_the_momentum_stays_with_its_parameters_where_new_rates_make_other_groups(
    run: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.load(run.checkpoints / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    seen: list[Any] = []

    def start(self: Method) -> None:
        Method.on_train_start(self)
        state = self.trainer.optimizers[0].state
        seen.extend((parameter.shape, state[parameter]["exp_avg"].clone()) for parameter in state)

    monkeypatch.setattr(ERM, "on_train_start", start, raising=False)
    flags = ["--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=5", "--model.lr=0.5"]
    assert maskexp("fit", *flags).code == 0
    assert len(seen) == len(before)
    assert all(shape == moment.shape for shape, moment in seen)
    assert sorted(m.double().sum().item() for _, m in seen) == sorted(
        s["exp_avg"].double().sum().item() for s in before.values()
    )


def test_more_epochs_plan_the_schedule_anew_and_say_so(run: RunDirectory, maskexp: Command, rates: list[float]) -> None:
    outcome = maskexp("fit", "--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=6")
    assert outcome.code == 0, outcome.err
    assert "planned anew" in outcome.err
    assert len(rates) == 6
    assert rates == sorted(rates, reverse=True)
    assert 0.0025 < rates[0] < 0.006, "no step at the rate 0 with which four epochs ended"


def test_a_constant_schedule_is_constant_after_a_cosine(
    run: RunDirectory, maskexp: Command, rates: list[float]
) -> None:
    flags = ["--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=6", "--model.schedule=constant"]
    assert maskexp("fit", *flags, "--model.warmup_epochs=0").code == 0
    assert rates == [0.01] * 6


def test_a_cosine_after_a_constant_begins_at_its_step(maskexp: Command, rates: list[float]) -> None:
    constant = ["--model.schedule=constant", "--model.warmup_epochs=0", "--trainer.max_epochs=2"]
    assert maskexp("fit", "--model=ERM", *FEW, *RATES, *constant, "--run_dir=run").code == 0
    rates.clear()
    flags = ["--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=4", "--model.schedule=cosine"]
    assert maskexp("fit", *flags).code == 0
    assert rates[0] == pytest.approx(0.005)
    assert rates == sorted(rates, reverse=True)


def test_nothing_changed_says_nothing(maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    def stop(self: Method) -> None:
        if self.current_epoch == 2:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(ERM, "on_train_epoch_start", stop, raising=False)
        assert maskexp("fit", "--model=ERM", *FEW, "--trainer.max_epochs=4", "--run_dir=run").code == 1
    outcome = maskexp("fit", "--run_dir=run", "--ckpt_path=last")
    assert outcome.code == 0
    assert "anew" not in outcome.err
    assert "instead of" not in outcome.err


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--model.optimizer=sgd", "was trained by adamw, whose state sgd cannot go on from"),
        ("--model.frozen_backbone=true", "other parameters are trained now"),
        ("--model.backbone=small_convnet", "the checkpoint's weights do not fit the network"),
        ("--model.weights=timm", "model.weights is what a training begins with, and this one goes on from"),
        ("--model=AIM", "holds the model ERM, not AIM"),
        ("--model.lr=.nan", "model.lr is NaN, but has to be a number"),
        ("--model.lr=nan", "model.lr is 'nan', but has to be"),
        ("--trainer.max_epochs=two", "trainer.max_epochs is 'two'"),
        ("--selection.metric=acc_wrost", "selection.metric is 'acc_wrost'"),
        ("--data.image_size=-3", ""),
        ("--data.batch_size=0", ""),
    ],
)
def test_a_refused_resumption_changes_nothing(flag: str, sentence: str, run: RunDirectory, maskexp: Command) -> None:
    before = contents(run)
    outcome = maskexp("fit", "--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=6", flag)
    assert outcome.code in (1, 2)
    assert sentence in outcome.complaint
    assert contents(run) == before
    assert run.done


def test_a_resumption_that_fails_in_its_first_step_changes_nothing(
    run: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)

    def fail(*args: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(ERM, "training_step", fail)
    assert maskexp("fit", "--run_dir=run", "--ckpt_path=last", "--trainer.max_epochs=6").code == 1
    after = contents(run)
    assert {name: after[name] for name in before} == before
    assert run.done


# --- fresh -----------------------------------------------------------------------------------------------------------


def killed_before_its_first_checkpoint(maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    class Stop(BaseException):
        pass

    def stop(self: Method, *args: Any) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(ERM, "on_train_batch_end", stop, raising=False)
        with pytest.raises(Stop):
            maskexp("fit", "--model=ERM", *FEW, "--model.lr=0.02", "--trainer.max_epochs=1", "--run_dir=run")
    run = RunDirectory("run")
    assert run.holds_run
    assert run.checkpoint("last") is None
    return run


def test_a_run_without_a_checkpoint_begins_again_by_its_own_configuration(
    maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_before_its_first_checkpoint(maskexp, monkeypatch)
    config = run.read_config()
    outcome = maskexp("fit", "--run_dir=run", "--ckpt_path=last", *CPU)
    assert outcome.code == 0, outcome.err
    assert "run has no checkpoint yet: starting afresh by its config.yaml" in outcome.err
    assert run.read_config()["model"] == config["model"]
    assert run.read_config()["model"]["init_args"]["lr"] == 0.02


def test_a_run_without_a_checkpoint_is_not_overwritten_with_another_model(
    maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_before_its_first_checkpoint(maskexp, monkeypatch)
    before = contents(run)
    outcome = maskexp("fit", "--model=AIM", *FEW, "--run_dir=run", "--ckpt_path=last")
    assert outcome.code == 2
    assert outcome.complaint == "run/config.yaml holds the model ERM, not AIM"
    assert contents(run) == before


def test_a_training_that_is_refused_before_its_first_step_leaves_no_directory(maskexp: Command) -> None:
    for flag in ("--selection.metric=acc_wrost", "--model.backbone=resnet18dd", "--data.batch_size=0"):
        outcome = maskexp("fit", "--model=ERM", *FEW, flag, "--trainer.max_epochs=1", "--run_dir=r")
        assert outcome.code in (1, 2)
        assert not Path("r").exists()


def test_a_trial_run_does_not_block_its_directory(maskexp: Command) -> None:
    for flags in (["--trainer.fast_dev_run=true"], ["--trainer.fast_dev_run=2"], ["--trainer.max_epochs=1"]):
        assert maskexp("fit", "--model=ERM", *FEW, "--run_dir=r", *flags).code == 0
    assert RunDirectory("r").done


@pytest.mark.parametrize("spelling", ["--run_dir=~/x", "--config"])
def test_home_is_the_users_home(
    spelling: str, elsewhere: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    Path("row.yaml").write_text("run_dir: ~/x")
    flags = [spelling] if "=" in spelling else ["--config", "row.yaml"]
    assert maskexp("fit", "--model=ERM", *FEW, *flags, "--trainer.max_epochs=1").code == 0
    assert RunDirectory(elsewhere / "home" / "x").done
    assert not Path("~").exists()
    assert (
        maskexp("fit", "--run_dir", "~/x", "--ckpt_path=~/x/checkpoints/last.ckpt", "--trainer.max_epochs=2").code == 0
    )


EXCEPTION = ["--trainer.callbacks=OnExceptionCheckpoint", "--trainer.callbacks.dirpath=left"]


def test_a_fresh_run_restores_nothing_that_another_left_behind(
    maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Method) -> None:
        if self.current_epoch == 2:
            raise RuntimeError("boom")

    with monkeypatch.context() as patch:
        patch.setattr(ERM, "on_train_epoch_start", fail, raising=False)
        assert maskexp("fit", "--model=ERM", *FEW, *EXCEPTION, "--trainer.max_epochs=4", "--run_dir=a").code == 1
    assert list(Path("left").iterdir())
    epochs = []
    monkeypatch.setattr(ERM, "on_train_epoch_start", lambda self: epochs.append(self.current_epoch), raising=False)
    outcome = maskexp("fit", "--model=ERM", *FEW, *EXCEPTION, "--trainer.max_epochs=4", "--run_dir=b")
    assert outcome.code == 0, outcome.err
    assert epochs == [0, 1, 2, 3]


def test_what_a_requeue_left_is_not_restored_by_a_fresh_run(
    run: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(run.checkpoints / "last.ckpt", "hpc_ckpt_1.ckpt")
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    for name in ("PROCID", "LOCALID", "NODEID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    epochs = []
    monkeypatch.setattr(ERM, "on_train_epoch_start", lambda self: epochs.append(self.current_epoch), raising=False)
    flags = ["--trainer.max_epochs=5", "--run_dir=b", "--trainer.default_root_dir=."]
    outcome = maskexp("fit", "--model=ERM", *FEW, *flags)
    assert outcome.code == 0, outcome.err
    assert epochs == [0, 1, 2, 3, 4]


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_training_that_ran_out_of_time_is_not_done_and_says_how_to_go_on(maskexp: Command) -> None:
    flags = ["--trainer.max_epochs=2000", "--trainer.max_time=00:00:00:02", "--run_dir=r"]
    outcome = maskexp("fit", "--model=ERM", *FEW, *flags)
    assert outcome.code == 0, outcome.err
    assert "trainer.max_time ended the training in epoch" in outcome.err
    assert not RunDirectory("r").done
    assert RunDirectory("r").checkpoint("best")


def without_masks(folder: Path) -> Path:
    """Write images of two classes, and no masks."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("a", "b"):
            for k in range(8):
                file = folder / split / kind / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file)
    return folder


NOT_A_NUMBER = ["--model.lr=1e30", "--model.lr=1e6 --model.optimizer=sgd"]


@pytest.mark.parametrize("flags", NOT_A_NUMBER)
def test_a_training_that_leaves_the_finite_numbers_ends_with_an_error_and_without_done(
    flags: str, elsewhere: Path, maskexp: Command
) -> None:
    data = ["--data=Manifest", f"--data.root={without_masks(elsewhere / 'photos')}", "--data.image_size=32"]
    data += [flag for flag in FEW if not flag.startswith("--data")]
    rate = flags.partition(" ")[0].replace(".lr", ".backbone_lr") if ".lr=" in flags else "--model.backbone_lr=1"
    outcome = maskexp("fit", "--model=ERM", *data, *flags.split(), rate, "--trainer.max_epochs=4", "--run_dir=r")
    assert outcome.code == 1, outcome.err
    sentences = ("the training left the finite numbers in epoch ", "are NaN or infinite", "weights that are no finite")
    assert any(sentence in outcome.complaint for sentence in sentences)
    assert not RunDirectory("r").done
    last = RunDirectory("r").checkpoint("last")
    if last is not None:
        state = torch.load(last, weights_only=True)["state_dict"]
        assert all(bool(torch.isfinite(value).all()) for value in state.values())


@pytest.mark.parametrize("key", ["model.lr", "model.weight_decay", "model.warmup_epochs", "data.correlation"])
@pytest.mark.parametrize("where", ["flag", "file"])
def test_nan_is_refused_wherever_it_stands(key: str, where: str, maskexp: Command) -> None:
    section, _, name = key.partition(".")
    content = {"class_path": {"model": "ERM", "data": "SyntheticBirds"}[section], "init_args": {name: float("nan")}}
    Path("row.yaml").write_text(yaml.safe_dump({section: content}))
    flags = [f"--{key}=.nan"] if where == "flag" else ["--config=row.yaml"]
    outcome = maskexp("fit", "--model=ERM", *FEW, *flags, "--trainer.max_epochs=1", "--run_dir=r")
    assert outcome.code == 2
    where_from, wrong = (
        ("", "NaN, but has to be a number") if where == "flag" else ("row.yaml: ", "'NaN', but has to be")
    )
    assert outcome.complaint.startswith(f"{where_from}{key} is {wrong}")
    assert not Path("r").exists()


FINDERS = {
    "the learning rate": (
        "LearningRateFinder",
        {"num_training_steps": 2},
        "model",
        "lr",
    ),
    "the batch size": (
        "BatchSizeFinder",
        {"init_val": 2, "max_trials": 2, "steps_per_trial": 1},
        "data",
        "batch_size",
    ),
}


@pytest.mark.parametrize(("callback", "arguments", "section", "key"), FINDERS.values(), ids=FINDERS.keys())
def test_what_a_finder_found_is_recorded_and_a_resumed_training_keeps_it(
    callback: str,
    arguments: dict[str, int],
    section: str,
    key: str,
    maskexp: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lightning.pytorch.tuner.lr_finder._LRFinder.suggestion", lambda *_, **__: 0.125)
    found = {"lr": 0.125, "batch_size": 4}[key]
    finder = json.dumps([{"class_path": callback, "init_args": arguments}])
    assert (
        maskexp(
            "fit", "--model=ERM", *FEW, f"--trainer.callbacks={finder}", "--trainer.max_epochs=1", "--run_dir=r"
        ).code
        == 0
    )
    run = RunDirectory("r")
    assert run.read_config()[section]["init_args"][key] == found
    assert run.read_env()["global_batch_size"] == (4 if key == "batch_size" else 8)
    stored = torch.load(run.checkpoints / "last.ckpt", weights_only=True)
    if key == "lr":
        assert stored["hyper_parameters"]["lr"] == found

    monkeypatch.setattr("lightning.pytorch.tuner.lr_finder._LRFinder.suggestion", lambda *_, **__: 0.5)
    again = maskexp("fit", "--run_dir=r", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert again.code == 0
    assert "Finding best" not in again.err
    assert run.read_config()[section]["init_args"][key] == found
    peaks = torch.load(run.checkpoints / "last.ckpt", weights_only=True)["lr_schedulers"][0]["base_lrs"]
    assert key != "lr" or 0.125 in peaks
