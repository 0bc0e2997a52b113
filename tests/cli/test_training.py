"""The real command, in this process, on tiny images."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml

from maskexp.cli.main import main
from maskexp.cli.training import TrainingCLI
from maskexp.methods import AIM, load_method
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command

GROUPS = ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what a run leaves behind --------------------------------------------------------------------------------------


def test_a_finished_run_holds_everything(trained: RunDirectory) -> None:
    names = {path.name for path in trained.path.iterdir()}
    assert names == {"DONE", "checkpoints", "config.yaml", "env.json", "gallery", "logs", "metrics.json"}
    assert {path.name for path in trained.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {path.name for path in trained.gallery.iterdir()} == {
        "epoch_000.png",
        "epoch_001.png",
        "val.png",
        "test.png",
    }
    assert "train/loss" in (trained.path / "logs" / "version_0" / "metrics.csv").read_text()


def test_metrics_are_flat_and_complete(trained: RunDirectory) -> None:
    metrics = trained.read_metrics()
    numbers = ("acc", "acc_worst_group", "acc_adjusted", "acc_group_mean", "epg", "pxap", "mask_area")
    for split, size in (("val", 8), ("test", 12)):
        assert {f"{split}/{name}" for name in numbers} <= metrics.keys()
        assert {f"{split}/{kind}/{group}" for kind in ("acc_group", "n_group") for group in GROUPS} <= metrics.keys()
        assert sum(metrics[f"{split}/n_group/{group}"] or 0 for group in GROUPS) == size
    assert all(key.startswith(("val/", "test/")) for key in metrics)


def test_environment_says_what_the_run_was_made_with(trained: RunDirectory) -> None:
    env = trained.read_env()
    assert env["command"].startswith("maskexp fit --model AIM")
    assert env["seed"] == 0
    assert env["world_size"] == 1
    assert env["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert len(env["data"]["digest"]) == 64
    assert env["started"] <= env["ended"]
    chosen = env["evaluations"]["test"]["checkpoint"]
    assert chosen["rule"] == "acc_worst_group"
    assert chosen["path"] == str(trained.checkpoints / "best.ckpt")
    assert chosen["selected"] is True


def test_a_test_in_another_precision_than_the_training_s_says_so(
    trained: RunDirectory, tmp_path: Path, maskexp: Command
) -> None:
    run = RunDirectory(shutil.copytree(trained.path, tmp_path / "run"))
    precision = "--trainer.precision=bf16-mixed"
    assert maskexp("test", "--run_dir", run, "--ckpt_path", "best", precision, "--trainer.accelerator=cpu").code == 0
    env = run.read_env()
    assert env["precision"] == "32-true"
    assert env["evaluations"]["test"]["precision"] == "bf16-mixed"
    assert "precision" not in env["evaluations"]["validate"]


def test_config_runs_again_and_gives_the_same_weights(trained: RunDirectory, tmp_path: Path, maskexp: Command) -> None:
    again = RunDirectory(tmp_path / "again")
    assert maskexp("fit", "--config", trained.config_file, "--run_dir", again).code == 0
    assert again.read_config() == trained.read_config()
    one, other = (torch.load(run.checkpoints / "last.ckpt", weights_only=True) for run in (trained, again))
    assert all(torch.equal(value, other["state_dict"][key]) for key, value in one["state_dict"].items())
    assert again.read_metrics() == trained.read_metrics()


def test_the_final_table_says_which_checkpoint_and_which_rule(elsewhere: Path, maskexp: Command) -> None:
    outcome = maskexp("fit", "--model", "ERM", *SMALL, "--run_dir", "r", "--trainer.max_epochs=1")
    text = " ".join(outcome.out.split())
    assert "checkpoint r/checkpoints/best.ckpt (epoch 0; best epoch by val/acc_worst_group =" in text
    assert "synthetic_birds (correlation0.95)" in text
    assert "acc_group/landbird/water" in text


def test_a_run_gets_a_directory_of_its_own(elsewhere: Path, maskexp: Command) -> None:
    for _ in range(2):
        assert (
            maskexp("fit", "--model", "ERM", *SMALL, "--trainer.max_epochs=1", "--gallery.every_n_epochs=0").code == 0
        )
    runs = list((elsewhere / "runs" / "erm-syntheticbirds").iterdir())
    assert len(runs) == 2
    assert all(RunDirectory(run).done and not RunDirectory(run).gallery.exists() for run in runs)


def test_the_first_run_that_the_help_names_needs_no_download(elsewhere: Path, maskexp: Command) -> None:
    named = maskexp("--help").out.partition("first run: maskexp ")[2].split()
    small = [arg for arg in SMALL if not arg.startswith(("--model", "--data="))]
    assert maskexp(*named, *small, "--trainer.max_epochs=1", "--test_after_fit=false", "--run_dir=r").code == 0
    assert RunDirectory("r").read_config()["data"]["class_path"].endswith("SyntheticBirds")


def test_without_a_test_the_selected_checkpoint_is_validated(elsewhere: Path, maskexp: Command) -> None:
    flags = ["--run_dir=r", "--test_after_fit=false", "--trainer.max_epochs=1", "--selection.metric=last"]
    assert maskexp("fit", "--model", "ERM", *SMALL, *flags).code == 0
    run = RunDirectory("r")
    assert run.done
    assert {key.partition("/")[0] for key in json.loads(run.metrics_file.read_text())} == {"val"}


def test_training_that_ends_before_its_first_validation_says_where_the_weights_are(
    elsewhere: Path, maskexp: Command
) -> None:
    outcome = maskexp("fit", "--model", "ERM", *SMALL, "--run_dir=r", "--trainer.max_steps=2")
    assert outcome.code == 2
    assert outcome.complaint.startswith(
        "no epoch was validated, so no checkpoint was selected by acc_worst_group; r/checkpoints/last.ckpt holds the"
    )
    assert RunDirectory("r").checkpoint("last")
    assert not RunDirectory("r").done


def test_fast_dev_run_leaves_no_checkpoint_and_no_done(elsewhere: Path, maskexp: Command) -> None:
    assert maskexp("fit", "--model", "ERM", *SMALL, "--run_dir=r", "--trainer.fast_dev_run=true").code == 0
    assert not RunDirectory("r").done
    assert not RunDirectory("r").checkpoints.exists()


def test_one_batch_of_a_configuration_stays_one_batch(
    tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even in a process in which the parser reads ``Union[float, int]``."""
    config = tmp_path / "one.yaml"
    config.write_text("trainer: {limit_train_batches: 1, limit_val_batches: 1, max_epochs: 1}")
    parse = TrainingCLI.parse_arguments

    def float_first(cli: TrainingCLI, *args: Any) -> None:
        parse(cli, *args)
        cli.settings.trainer.limit_train_batches = 1.0

    monkeypatch.setattr(TrainingCLI, "parse_arguments", float_first)
    small = [argument for argument in SMALL if "max_epochs" not in argument]
    args = ("--model=ERM", *small, "--config", config, f"--run_dir={tmp_path / 'run'}", "--test_after_fit=false")
    assert maskexp("fit", *args).code == 0
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 1


# --- pitfall 2: configuration files of evaluations -----------------------------------------------------------------


@pytest.mark.parametrize("logger", [[], ["--trainer.logger=false"]])
def test_two_tests_in_one_directory_leave_no_config(
    elsewhere: Path, trained: RunDirectory, maskexp: Command, logger: list[str]
) -> None:
    best = trained.checkpoints / "best.ckpt"
    for _ in range(2):
        assert maskexp("test", "--ckpt_path", best, *CPU, "--run_dir=out", *logger).code == 0
    assert {path.name for path in elsewhere.iterdir()} == {"out"}
    assert not RunDirectory("out").holds_run
    assert RunDirectory("out").read_metrics().keys() == {k for k in trained.read_metrics() if k.startswith("test/")}
    assert (elsewhere / "out" / "logs").exists() is (not logger)


def test_evaluation_of_the_selected_checkpoint_keeps_the_other_metrics(
    tmp_path: Path, elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    run = copy_of(trained, tmp_path / "copy")
    before, config = run.read_metrics(), run.config_file.read_bytes()
    assert maskexp("validate", "--ckpt_path", run.checkpoints / "best.ckpt", *CPU, "--data.eval_batch_size=3").code == 0
    after = run.read_metrics()
    assert after.keys() == before.keys()
    assert all(after[key] == pytest.approx(before[key], abs=1e-6) for key in before)
    assert run.config_file.read_bytes() == config
    assert run.read_env()["evaluations"]["validate"]["command"].startswith("maskexp validate")
    assert not (elsewhere / "runs").exists()


def test_other_numbers_get_a_directory_of_their_own(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    before = trained.metrics_file.read_bytes()
    best, last = trained.checkpoints / "best.ckpt", trained.checkpoints / "last.ckpt"
    named = ["--run_dir", str(trained.path), "--ckpt_path=last"]
    for start, flags in (([f"--ckpt_path={best}"], ["--model.tau=0.9"]), ([f"--ckpt_path={last}"], []), (named, [])):
        assert maskexp("test", *start, *CPU, *flags).code == 0
    assert trained.metrics_file.read_bytes() == before
    assert len(list((elsewhere / "runs" / "aim-syntheticbirds").iterdir())) == 3


# --- pitfall 1: who wins -------------------------------------------------------------------------------------------


def test_a_checkpoint_alone_is_enough(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--run_dir=out")
    assert outcome.code == 0
    assert "instead of" not in outcome.err
    expected = {key: value for key, value in trained.read_metrics().items() if key.startswith("test/")}
    assert RunDirectory("out").read_metrics() == pytest.approx(expected, abs=1e-6)


def test_a_checkpoint_that_was_moved_is_enough(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    moved = elsewhere / "moved.ckpt"
    moved.write_bytes((trained.checkpoints / "best.ckpt").read_bytes())
    outcome = maskexp("test", "--ckpt_path", moved, *CPU, "--run_dir=out")
    assert outcome.code == 0
    assert "best epoch by val/acc_worst_group" in " ".join(outcome.out.split())
    assert RunDirectory("out").read_metrics()["test/acc"] == trained.read_metrics()["test/acc"]


def test_an_explicit_flag_beats_the_checkpoint(
    elsewhere: Path, trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(AIM, "on_test_epoch_start", lambda self: seen.append(self.tau), raising=False)
    best = trained.checkpoints / "best.ckpt"
    outcome = maskexp("test", "--ckpt_path", best, *CPU, "--run_dir=out", "--model.tau=0.9")
    assert outcome.code == 0
    assert seen == [0.9]
    assert "model.tau: 0.9 instead of 0.5 (checkpoint)" in outcome.err


def test_an_explicit_configuration_beats_the_checkpoint_and_a_flag_beats_both(
    elsewhere: Path, trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        AIM, "on_test_epoch_start", lambda self: seen.append((self.tau, self.hparams["stages"])), raising=False
    )
    Path("row.yaml").write_text("model: {class_path: AIM, init_args: {tau: 0.7}}")
    common = ["test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--run_dir=out", "--config=row.yaml"]
    assert maskexp(*common).code == 0
    assert maskexp(*common, "--model.tau", "0.8").code == 0
    assert seen == [(0.7, 2), (0.8, 2)]


def test_other_data_replaces_the_data_of_the_checkpoint(
    elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--data=WaterBirds")
    assert outcome.code == 2
    assert "data: WaterBirds instead of SyntheticBirds (checkpoint)" in outcome.err
    assert outcome.complaint == "WaterBirds needs --data.root"


def test_a_flag_that_changes_the_class_drops_the_arguments_aloud(elsewhere: Path, maskexp: Command) -> None:
    Path("row.yaml").write_text("model: {class_path: AIM, init_args: {tau: 0.7}}")
    flags = ["--config=row.yaml", "--model=ERM", *SMALL, "--trainer.max_epochs=1", "--run_dir=r"]
    outcome = maskexp("fit", *flags, "--test_after_fit=false")
    assert outcome.code == 0
    assert "model: ERM replaces AIM of row.yaml with all its arguments" in outcome.err
    assert RunDirectory("r").read_config()["model"]["class_path"] == "maskexp.methods.ERM"


# --- selection -----------------------------------------------------------------------------------------------------


def test_selection_by_the_final_epoch(elsewhere: Path, maskexp: Command) -> None:
    outcome = maskexp("fit", "--model", "ERM", *SMALL, "--run_dir=r", "--selection.metric=last")
    assert outcome.code == 0
    assert "(epoch 1; the final epoch)" in " ".join(outcome.out.split())
    one, other = (torch.load(f"r/checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert one["global_step"] == other["global_step"] == 6


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_are_plain_and_load_without_data(trained: RunDirectory) -> None:
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    assert content["maskexp"]["method"] == "AIM"
    method = load_method(trained.checkpoints / "best.ckpt")
    assert method.spec is not None
    assert method.spec.group_names == GROUPS


# --- predictions ---------------------------------------------------------------------------------------------------


def test_predictions_recompute_the_metrics(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    best = trained.checkpoints / "best.ckpt"
    flags = ["--run_dir=out", "--save_attributions=true", "--data.eval_batch_size=5"]
    assert maskexp("predict", "--ckpt_path", best, *CPU, *flags).code == 0
    table = np.genfromtxt("out/predictions.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert table.dtype.names == ("id", "label", "group", "predicted", "probability")
    assert len(table) == len(set(table["id"])) == 12
    right = table["label"] == table["predicted"]
    metrics = trained.read_metrics()
    assert right.mean() == pytest.approx(metrics["test/acc"])
    worst = min(right[table["group"] == group].mean() for group in range(4))
    assert worst == pytest.approx(metrics["test/acc_worst_group"])
    probability = torch.from_numpy(np.load("out/logits.npy")).softmax(1).max(1).values
    assert table["probability"] == pytest.approx(probability.numpy(), abs=1e-5)
    maps = [np.load(f"out/attributions/{identity}.npy") for identity in table["id"]]
    assert np.mean(maps) == pytest.approx(metrics["test/mask_area"], abs=1e-6)
    assert all((Path("out/attributions") / f"{identity}.png").is_file() for identity in table["id"])


# --- loggers -------------------------------------------------------------------------------------------------------


def test_the_whole_configuration_goes_to_wandb_and_its_id_stays_with_the_run(
    elsewhere: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true", "--trainer.logger.project=test"]
    flags = ["--model", "ERM", *SMALL, "--run_dir=r", "--trainer.max_epochs=1", *logger]
    assert maskexp("fit", *flags).code == 0
    identity = (elsewhere / "r" / "wandb_id.txt").read_text()
    assert wandb.run.id == identity
    assert (wandb.run.config["data"], wandb.run.config["selection.metric"]) == ("SyntheticBirds", "auto")
    assert not (elsewhere / "wandb").exists()
    (kept,) = (elsewhere / "r" / "wandb").glob(f"offline-run-*-{identity}")
    images = {path.name.partition("_")[0] for path in (kept / "files/media/images/gallery").glob("*.png")}
    assert images == {"val", "test"}
    wandb.finish()
    assert maskexp("fit", "--run_dir=r", "--ckpt_path=last", "--trainer.max_epochs=2").code == 0
    assert wandb.run.id == identity
    wandb.finish()


def test_the_whole_configuration_and_the_gallery_go_to_tensorboard(elsewhere: Path, maskexp: Command) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=tb"]
    flags = ["--model", "ERM", *SMALL, "--run_dir=r", "--trainer.max_epochs=1", *logger]
    assert maskexp("fit", *flags).code == 0
    folder = next((elsewhere / "tb").rglob("events.out.tfevents.*")).parent
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["images"]) == {"gallery/val", "gallery/test"}
    config = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert config["data"]["init_args"]["train_size"] == 24


# --- resuming ------------------------------------------------------------------------------------------------------


def test_a_run_is_never_overwritten(trained: RunDirectory, maskexp: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")}
    outcome = maskexp("fit", "--model", "AIM", *SMALL, "--run_dir", trained)
    assert outcome.code == 2
    assert outcome.complaint.endswith(
        "already holds a run; go on with it by --ckpt_path last, or choose another --run_dir"
    )
    assert {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")} == before


def test_last_without_a_checkpoint_starts_afresh_and_says_so(elsewhere: Path, maskexp: Command) -> None:
    flags = ["--run_dir=r", "--ckpt_path=last", "--trainer.max_epochs=1", "--test_after_fit=false"]
    outcome = maskexp("fit", "--model", "ERM", *SMALL, *flags)
    assert outcome.code == 0
    assert "r has no checkpoint yet: starting afresh" in outcome.err


def test_resuming_needs_nothing_but_the_directory(
    tmp_path: Path, elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    run = copy_of(trained, tmp_path / "copy")
    outcome = maskexp("fit", "--run_dir", run, "--ckpt_path=last", "--trainer.max_epochs=3")
    assert outcome.code == 0
    assert "trainer.max_epochs: 3 instead of 2 (the interrupted run)" in outcome.err
    assert torch.load(run.checkpoints / "last.ckpt", weights_only=True)["epoch"] == 2
    assert run.read_config()["trainer"]["max_epochs"] == 3
    assert run.read_config()["model"] == trained.read_config()["model"]
    env = run.read_env()
    assert [start["command"] for start in env["earlier_starts"]] == [trained.read_env()["command"]]
    assert run.done


def test_resuming_does_not_read_the_first_weights_again(elsewhere: Path, maskexp: Command) -> None:
    weights = elsewhere / "first.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    flags = ["--run_dir=r", "--trainer.max_epochs=1", "--test_after_fit=false", f"--model.weights={weights}"]
    assert maskexp("fit", "--model", "ERM", *SMALL, *flags).code == 0
    weights.unlink()
    assert maskexp("fit", "--run_dir=r", "--ckpt_path=last", "--trainer.max_epochs=2").code == 0
    assert RunDirectory("r").read_config()["model"]["init_args"]["weights"] == str(weights)
    stored = torch.load("r/checkpoints/last.ckpt", weights_only=True)
    assert (stored["epoch"], stored["hyper_parameters"]["weights"]) == (1, str(weights))


def test_a_run_does_not_go_on_from_another_run(tmp_path: Path, trained: RunDirectory, maskexp: Command) -> None:
    run = copy_of(trained, tmp_path / "copy")
    outcome = maskexp("fit", "--run_dir", run, "--ckpt_path", trained.checkpoints / "last.ckpt")
    assert outcome.code == 2
    assert "already holds a run that" in outcome.complaint


def test_a_start_that_fails_leaves_no_directory(elsewhere: Path) -> None:
    assert main(["fit", "--model", "AIM", *SMALL, "--run_dir=r", "--model.stages=9"]) == 1
    assert os.listdir(elsewhere) == []  # noqa: PTH208


def copy_of(run: RunDirectory, path: Path) -> RunDirectory:
    for source in run.path.rglob("*"):
        if source.is_file():
            target = path / source.relative_to(run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return RunDirectory(path)


def test_copies_are_complete(trained: RunDirectory, tmp_path: Path) -> None:
    copy = copy_of(trained, tmp_path / "copy")
    assert json.loads(copy.metrics_file.read_text()) == trained.read_metrics()


def test_a_checkpoint_that_has_all_epochs_already_is_told_so(
    tmp_path: Path, trained: RunDirectory, maskexp: Command
) -> None:
    """Nothing was left to train; that "no epoch was validated" would be beside the point."""
    last = trained.checkpoints / "last.ckpt"
    outcome = maskexp(
        "fit", *CPU, f"--ckpt_path={last}", f"--run_dir={tmp_path / 'elsewhere'}", "--trainer.max_epochs=2"
    )
    assert outcome.code != 0
    assert "has been trained for 2 epochs already" in outcome.complaint
    assert "no epoch was validated" not in outcome.err


def test_going_on_elsewhere_selects_among_the_new_epochs(
    tmp_path: Path, trained: RunDirectory, maskexp: Command
) -> None:
    last, run = trained.checkpoints / "last.ckpt", RunDirectory(tmp_path / "elsewhere")
    outcome = maskexp("fit", *CPU, f"--ckpt_path={last}", f"--run_dir={run}", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    assert run.done
    assert torch.load(run.checkpoints / "best.ckpt", weights_only=True)["epoch"] == 2
