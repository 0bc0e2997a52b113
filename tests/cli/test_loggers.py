"""wandb, TensorBoard and CSV by their short names, and what a wandb run holds, read back from its offline file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from maskexp.cli.config import Configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.loggers import named_loggers
from tests.cli.conftest import SMALL, Command
from tests.cli.test_preemption import kill
from tests.wandb_file import OfflineRun, read_offline_run

AIM = ["fit", "--model", "AIM", *SMALL, "--run_dir=r", "--trainer.logger", "wandb"]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_PROJECT", "WANDB_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()


def starts() -> list[OfflineRun]:
    wandb.finish()
    return [read_offline_run(folder) for folder in sorted(Path("r/wandb").glob("offline-run-*"))]


@pytest.mark.slow
def test_a_run_at_wandb_is_whole(maskexp: Command) -> None:
    done = maskexp(*AIM)
    assert done.code == 0, done.err
    (run,) = starts()
    env, metrics = (json.loads(Path("r", name).read_text()) for name in ("env.json", "metrics.json"))
    assert (run.run_id, run.project, run.name) == (Path("r/wandb_id.txt").read_text(), "maskexp", "r")
    assert "upload it by: wandb sync r/wandb/offline-run-" in done.err

    chosen = {"model": "AIM", "model.tau": 0.25, "model.backbone": "test_resnet", "data.batch_size": 8}
    assert {key: run.config[key] for key in chosen} == chosen
    assert run.config["env.data.digest"] == env["data"]["digest"]
    assert run.config["env.maskexp"] == env["maskexp"]
    if env["git"]:
        assert run.config["env.git.commit"] == env["git"]["commit"]
    assert run.config["env.global_batch_size"] == env["global_batch_size"] == 8

    measured = {key: value for key, value in metrics.items() if value is not None}
    assert {key: run.summary[key] for key in measured} == pytest.approx(measured)
    best = env["evaluations"]["test"]["checkpoint"]
    assert (run.summary["selected/epoch"], run.summary["selected/rule"]) == (best["epoch"], best["rule"])
    assert run.summary["global_batch_size"] == 8

    worst = [row["val/acc_group/waterbird/land"] for row in run.history if "val/acc_group/waterbird/land" in row]
    assert len(worst) == 3, "a curve of each group over two epochs, and the selected checkpoint"
    assert any(key.startswith("gallery/test") for row in run.history for key in row)
    (folder,) = Path("r/wandb").glob("offline-run-*")
    table = json.loads(next(folder.glob("files/media/table/test_images*.json")).read_text())
    assert table["columns"] == ["image", "mask", "group", "label", "prediction", "probability", "correct", "epg"]
    assert table["data"][0][:2] == ["Image", "Image"]
    assert all(0 < row[7] < 1 for row in table["data"])
    overlays = next(row["gallery/test/all_masks"] for row in run.history if "gallery/test/all_masks" in row)
    assert set(overlays[0]) == {"mask 1", "mask 2", "merged mask", "foreground"}
    assert list(folder.glob("files/media/images/mask/**/*.png"))


@pytest.mark.slow
def test_a_resumption_goes_on_with_the_run_and_both_parts_are_to_be_uploaded(maskexp: Command) -> None:
    assert maskexp(*AIM, *kill("SIGUSR1", "batch_end", 1, 0)).code == 75
    wandb.finish()
    done = maskexp("fit", "--run_dir=r", "--ckpt_path=last", "--trainer.callbacks=null")
    assert done.code == 0, done.err
    first, second = starts()
    assert first.run_id == second.run_id == Path("r/wandb_id.txt").read_text()
    assert first.preempting
    line = done.err.partition("upload it by: wandb sync ")[2].splitlines()[0]
    assert [Path(part).is_dir() for part in line.split()] == [True, True]
    assert line.split() == sorted(line.split())


@pytest.mark.slow
def test_the_environment_chooses_the_id_and_a_run_keeps_it(maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given123")
    assert maskexp(*AIM, "--trainer.max_epochs=1", "--test_after_fit=false").code == 0
    assert [run.run_id for run in starts()] == ["given123"]
    assert Path("r/wandb_id.txt").read_text() == "given123"
    monkeypatch.setenv("WANDB_RUN_ID", "other456")
    refused = maskexp("fit", "--run_dir=r", "--ckpt_path=last")
    assert refused.code == 2
    assert "says that this run is given123 at wandb, but WANDB_RUN_ID is other456" in refused.complaint


def test_a_refused_command_chooses_no_id(maskexp: Command) -> None:
    assert maskexp(*AIM, "--model.tau=7").code != 0
    assert not Path("r").exists()


def resolved(value: Any, *flags: str) -> tuple[Configuration, list[str]]:
    configuration = Configuration({"trainer": {"logger": value}})
    return configuration, named_loggers(configuration, flags)


def test_short_names_are_lightnings_classes_in_files_and_flags() -> None:
    configuration, flags = resolved(
        ["wandb", {"class_path": "tensorboard", "init_args": {"version": "v"}}],
        "--trainer.logger", "wandb", "--trainer.logger.project=x", "--trainer.logger=[csv, tensorboard]",
    )  # fmt: skip
    here = {"save_dir": "."}
    assert configuration.values["trainer"]["logger"] == [
        {"class_path": "WandbLogger", "init_args": here},
        {"class_path": "TensorBoardLogger", "init_args": {**here, "version": "v"}},
    ]
    names = [flag.partition("=")[0] for flag in flags]
    assert names == ["--trainer.logger", "--trainer.logger.project", "--trainer.logger"]
    assert json.loads(flags[0].partition("=")[2]) == {"class_path": "WandbLogger", "init_args": here}
    assert [each["class_path"] for each in json.loads(flags[2].partition("=")[2])] == ["CSVLogger", "TensorBoardLogger"]


def test_a_misspelt_logger_is_refused() -> None:
    with pytest.raises(CommandError, match="there is no logger 'wandbb'; did you mean 'wandb'"):
        resolved(None, "--trainer.logger=wandbb")
    with pytest.raises(CommandError, match="there is no logger 'tensorbord'; did you mean 'tensorboard'"):
        resolved("tensorbord")


@pytest.mark.slow
def test_tensorboard_and_csv_write_into_the_run(maskexp: Command) -> None:
    flags = ["fit", "--model", "ERM", *SMALL, "--run_dir=r", "--trainer.max_epochs=1", "--test_after_fit=false"]
    assert maskexp(*flags, "--trainer.logger=[csv,tensorboard]").code == 0
    assert list(Path("r").rglob("events.out.tfevents*"))
    assert len(list(Path("r").rglob("metrics.csv"))) == 1
    assert {path.name for path in Path().iterdir()} == {"r"}
