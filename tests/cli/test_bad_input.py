"""What a user gets wrong: one sentence, a non-zero exit, no traceback, and no directory left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command

AIM = ["fit", "--model=AIM", *SMALL]
ERM = ["fit", "--model=ERM", *SMALL]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = {
    "processes that bring nothing back": (
        [*AIM, "--trainer.strategy=ddp_spawn"],
        "trainer.strategy ddp_spawn trains in processes whose weights and numbers do not come back",
    ),
    "no model": (["fit"], "no model was chosen: give --model AIM or "),
    "unknown model": (["fit", "--model=AIN"], "there is no model 'AIN'; did you mean 'AIM'?"),
    "unknown model of a package": (
        ["fit", "--model=maskexp.methods.ERN"],
        "no model 'maskexp.methods.ERN'; did you mean 'E",
    ),
    "package that is not here": (
        ["fit", "--model=nowhere.ERM"],
        "there is no model 'nowhere.ERM'; did you mean 'ERM'?",
    ),
    "two models": (["fit", "--model=ERM,AIM"], "there is no model 'ERM,AIM'; "),
    "unknown data": (
        ["fit", "--model=AIM", "--data=WaterBird"],
        "there is no data 'WaterBird'; did you mean 'WaterBirds'?",
    ),
    "unknown section": ([*AIM, "--trainr.max_epochs=3"], "unknown key trainr; did you mean 'trainer'?"),
    "unknown trainer key": (
        [*AIM, "--trainer.max_epoch=3"],
        "unknown key trainer.max_epoch; did you mean 'max_epochs'?",
    ),
    "unknown model key": ([*AIM, "--model.tauu=3"], "unknown key model.tauu; did you mean 'tau'?"),
    "unknown key of the base": ([*AIM, "--model.backbon=x"], "unknown key model.backbon; did you mean 'backbone'?"),
    "unknown data key": ([*AIM, "--data.image_siz=3"], "unknown key data.image_siz; did you mean 'image_size'?"),
    "unknown gallery key": ([*AIM, "--gallery.every_epochs=3"], "did you mean 'every_n_epochs'?"),
    "not a number": ([*AIM, "--model.tau=abc"], "model.tau is 'abc', but has to be of type float"),
    "not an integer": ([*AIM, "--trainer.max_epochs=x"], "trainer.max_epochs is 'x', but has to be of type int"),
    "no such choice": (
        [*AIM, "--model.pooling=actve"],
        "model.pooling is 'actve', but has to be one of ['all', 'active']",
    ),
    "missing argument": (["fit", "--model=AIM", "--data=WaterBirds"], "WaterBirds needs --data.root"),
    "no flag": ([*AIM, "stray"], "unrecognized arguments: stray"),
    "flag without value": ([*AIM, "--config"], "--config needs a value"),
    "missing configuration": ([*AIM, "--config=none.yaml"], "there is no configuration file 'none.yaml'"),
    "tau too large": ([*AIM, "--model.tau=1.5"], "tau is 1.5; the target active fraction must lie in (0, 1]"),
    "tau zero": ([*AIM, "--model.tau=0"], "tau is 0.0; the target active fraction must lie in (0, 1]"),
    "too many stages": ([*AIM, "--model.stages=9"], "stages is 9, but 'test_resnet' has 5; choose 1 to 5"),
    "unknown backbone": ([*AIM, "--model.backbone=resnet51"], "timm has no network called 'resnet51'; did you mean"),
    "missing weights": ([*AIM, "--model.weights=none.safetensors"], "no weights at 'none.safetensors'"),
    "correlation": ([*AIM, "--data.correlation=3"], "correlation is 3"),
    "missing root": ([*AIM, "--data=WaterBirds", "--data.root=none"], "looked for  none"),
    "gallery": ([*ERM, "--gallery.samples_per_group=0"], "have to be at least 0 and 1"),
    "sampler": ([*ERM, "--trainer.use_distributed_sampler=true"], "use_distributed_sampler has to stay false"),
    "upload of checkpoints": (
        [*ERM, "--trainer.logger=WandbLogger", "--trainer.logger.log_model=true"],
        "trainer.logger.log_model has to stay false",
    ),
    "no such device": ([*ERM, "--trainer.accelerator=tpuu"], "accelerator"),
    "test without a checkpoint": (["test", "--model=AIM"], "maskexp test needs a trained model: give --ckpt_path FILE"),
    "predict without a checkpoint": (["predict"], "maskexp predict needs a trained model"),
    "missing checkpoint": (["test", "--ckpt_path=none.ckpt"], "there is no checkpoint 'none.ckpt'"),
    "last of no run": (["test", "--ckpt_path=last"], "--ckpt_path last is looked up in a run: add --run_dir DIR"),
    "last of an empty run": (["test", "--ckpt_path=last", "--run_dir=r"], "r/checkpoints holds no last.ckpt"),
    "best of an empty run": (["fit", "--ckpt_path=best", "--run_dir=r"], "r/checkpoints holds no best.ckpt"),
    "unknown logger": (
        [*ERM, "--trainer.logger=WandbLoger"],
        "there is no logger 'WandbLoger'; did you mean 'WandbLogger'?",
    ),
    "unknown logger in a list": (
        [*ERM, "--trainer.logger=[csv, tensorbord]"],
        "there is no logger 'tensorbord'; did you mean 'tensorboard'?",
    ),
    "unknown logger with arguments": (
        [*ERM, "--trainer.logger={class_path: CSVLoger, init_args: {version: 1}}"],
        "there is no logger 'CSVLoger'; did you mean 'CSVLogger'?",
    ),
    "logger whose package is missing": (
        [*ERM, "--trainer.logger=MLFlowLogger"],
        "MLFlowLogger needs a package that is not here: Requirement 'mlflow>=",
    ),
    "unknown key of a logger": (
        [*ERM, "--trainer.logger={class_path: CSVLogger, init_args: {versio: 1}}"],
        "unknown key trainer.logger.versio; did you mean 'version'?",
    ),
    "unknown callback": (
        [*ERM, "--trainer.callbacks=EarlyStoping"],
        "there is no callback 'EarlyStoping'; did you mean 'EarlyStopping'?",
    ),
    "callback without its argument": (
        [*ERM, "--trainer.callbacks=EarlyStopping"],
        "EarlyStopping needs monitor; put it under its init_args",
    ),
    "unknown key of a callback": (
        [*ERM, "--trainer.callbacks=EarlyStopping", "--trainer.callbacks.pateince=3"],
        "unknown key trainer.callbacks.pateince; did you mean 'patience'?",
    ),
    "key of no callback": (
        [*ERM, "--trainer.callbacks.patience=3"],
        "unknown key trainer.callbacks.patience: no class is chosen for trainer.callbacks yet",
    ),
    "callback that watches nothing": (
        [*ERM, "--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val_acc"],
        "EarlyStopping monitors 'val_acc', which nothing measures; did you mean 'val/acc'?",
    ),
    "callback that freezes": (
        [*ERM, "--trainer.callbacks=BackboneFinetuning"],
        "BackboneFinetuning freezes an attribute backbone of modules, which a method does not have; give",
    ),
    "mapping without a class": (["fit", "--model={lr: 0.1}"], "no model is chosen: give --model NAME as well"),
    "mapping of another class": (["fit", "--model={class_path: EMR, lr: 1}"], "no model 'EMR'; did you mean 'ERM'?"),
    "mapping with an unknown key": (
        [*ERM, "--model={class_path: ERM, lrr: 1}"],
        "unknown key model.lrr; did you mean 'lr'",
    ),
    "mapping that is none": (["fit", "--model={class_path: ERM"], "--model names no class: give a name (AIM, CAD, "),
    "mapping whose class is a number": (
        ["fit", "--model={class_path: 3}"],
        "--model names no class: give a name (AIM, ",
    ),
    "an earlier name": (["fit", "--model=COMET", "--model.t=3"], "unknown key model.t; it is called area_budget now"),
    "no devices": ([*ERM, "--trainer.devices=-3"], "trainer.devices is -3; it must be a number from 1 on, a list"),
    "no batches to a step": (
        [*ERM, "--trainer.accumulate_grad_batches=0"],
        "trainer.accumulate_grad_batches is 0; it must be at least 1",
    ),
    "nothing to train on": (
        [*ERM, "--trainer.limit_train_batches=0"],
        "limit_train_batches is 0, so that there is nothing",
    ),
    "no checkpoints": (
        [*ERM, "--trainer.enable_checkpointing=false"],
        "would leave out the checkpoints that a run is for",
    ),
    "bare bones": ([*ERM, "--trainer.barebones=true"], "trainer.barebones would leave out the checkpoints"),
    "no seed": (
        [*ERM, "--seed_everything=false"],
        "seed_everything is false; it must be a number from 0 to 4294967295",
    ),
    "seed below zero": (
        [*ERM, "--seed_everything=-1"],
        "seed_everything is -1; it must be a number from 0 to 4294967295",
    ),
    "validation behind the end": (
        [*ERM, "--trainer.check_val_every_n_epoch=5"],
        "trainer.check_val_every_n_epoch is 5, but there are 2 epochs, so that no checkpoint would be selected",
    ),
    "unknown precision": (
        [*ERM, "--trainer.precision=float16"],
        "trainer.precision is 'float16', but has to be 32, 16-mixed, bf16-mixed, 16-true, bf16-true or 64",
    ),
    "flat arguments of an evaluation": (
        [*ERM, "--evaluations=[{class_path: Fidelity, shares: [0.1]}]"],
        "--evaluations has to list names (",
    ),
    "image too small": (
        [*ERM, "--model.backbone=small_convnet", "--data.image_size=4"],
        "'small_convnet' cannot take images of 4x4 pixels; give --data.image_size 8, for example",
    ),
    "one image a batch": (
        [*ERM, "--model.backbone=resnet18", "--data.batch_size=1"],
        "batch norm has nothing to normalise by in a batch of one image whose last map is one cell; give a larger",
    ),
    "first weights of another selector": (
        ["fit", "--model=COMET", *SMALL, "--model.detector=trainable", "--model.selector_weights=other.pth"],
        "the weights 'other.pth' are none of torchvision's mobilenet_v3_large",
    ),
    "explain without a checkpoint": (["explain", "none.ckpt", "x.jpg"], "none.ckpt"),
}


@pytest.mark.parametrize(("args", "sentence"), CASES.values(), ids=CASES.keys())
def test_bad_input(args: list[str], sentence: str, elsewhere: Path, maskexp: Command) -> None:
    data = [arg for arg in args if arg.startswith("--data=")]
    if data and data[-1] != "--data=SyntheticBirds":  # the last class wins, but has other arguments
        args = [arg for arg in args if not arg.startswith(("--data.train", "--data.val", "--data.test", "--data=Syn"))]
    torch.save({"x": torch.zeros(1)}, elsewhere / "other.pth")
    outcome = maskexp(*args)
    assert outcome.code in (1, 2)
    assert sentence in outcome.complaint
    assert "Traceback" not in outcome.err
    assert not list(elsewhere.glob("runs/*/*"))


def test_unknown_selection_is_refused_before_the_first_epoch(maskexp: Command) -> None:
    outcome = maskexp(*ERM, "--selection.metric=accc", "--run_dir=r")
    assert outcome.code == 1
    assert "selection.metric is 'accc'; choose auto, last, acc, acc_adjusted" in outcome.complaint
    assert not RunDirectory("r").checkpoints.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modell: AIM", "row.yaml: unknown key modell; did you mean 'model'?"),
        ("model: {class_path: AIM, init_args: {tauu: 1}}", "row.yaml: unknown key model.tauu; did you mean 'tau'?"),
        ("model: {class_path: AIM, init_args: {tau: x}}", "row.yaml: model.tau is 'x', but has to be of type float"),
        ("model: AIM\ntrainer: {max_epoch: 1}", "row.yaml: unknown key trainer.max_epoch; did you mean 'max_epochs'?"),
        ("model: ERM\ntrainer: [1, 2]", "row.yaml: trainer has to hold keys and values, but is [1, 2]"),
        ("model: AIN", "there is no model 'AIN'; did you mean 'AIM'?"),
    ],
)
def test_mistakes_in_a_file_name_the_file(text: str, sentence: str, maskexp: Command) -> None:
    Path("row.yaml").write_text(text)
    outcome = maskexp("fit", "--config=row.yaml")
    assert (outcome.code, outcome.complaint) == (2, sentence)


def test_a_file_that_is_no_checkpoint(maskexp: Command) -> None:
    Path("text.ckpt").write_text("hello")
    torch.save({"state_dict": {}}, "other.ckpt")
    for name in ("text.ckpt", "other.ckpt"):
        for command in (["test", "--ckpt_path", name], ["fit", "--ckpt_path", name], ["explain", name, "x.jpg"]):
            outcome = maskexp(*command)
            assert outcome.code in (1, 2)
            assert name in outcome.complaint
            assert "Traceback" not in outcome.err


def test_a_checkpoint_that_runs_code_is_refused(maskexp: Command) -> None:
    torch.save({"maskexp": Path("x")}, "pickled.ckpt")
    outcome = maskexp("test", "--ckpt_path=pickled.ckpt")
    assert outcome.code == 2
    assert "pickled.ckpt" in outcome.complaint


def test_another_model_than_the_checkpoint_holds(trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", "--model=ERM", *CPU)
    assert outcome.code == 2
    assert outcome.complaint.endswith("best.ckpt holds the model AIM, not ERM")


def test_a_damaged_metrics_file(trained: RunDirectory, maskexp: Command) -> None:
    Path("out").mkdir()
    Path("out/metrics.json").write_text('{"val/acc": ')
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--run_dir=out")
    assert outcome.code == 1
    assert "out/metrics.json is damaged" in outcome.complaint
