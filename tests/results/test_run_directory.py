from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskexp.results import RunDirectory, RunDirectoryError


def test_nothing_is_created_before_something_is_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert not run.holds_run
    assert not run.done
    assert run.checkpoint("best") is None
    assert run.read_metrics() == run.read_env() == {}
    assert not run.path.exists()


def test_fresh_names_differ_within_a_second() -> None:
    names = {RunDirectory.fresh("AIM", "WaterBirds").path for _ in range(50)}
    assert len(names) == 50
    assert {name.parts[:2] for name in names} == {("runs", "aim-waterbirds")}


def test_config_comes_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    config = {"model": {"class_path": "AIM", "init_args": {"tau": 1e-4, "weights": None, "names": ["ä", "b"]}}}
    run.write_config(config)
    assert run.holds_run
    assert run.read_config() == config


@pytest.mark.parametrize("text", [None, "- 1\n"])
def test_missing_or_damaged_config(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"config\.yaml"):
        RunDirectory(tmp_path).read_config()


def test_a_stage_replaces_its_own_metrics_and_no_others(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.update_metrics({"val/acc": 0.5, "test/acc": 0.25, "test/acc_group/old": 1.0})
    run.update_metrics({"test/acc": 0.75, "test/n_group/new": 3.0, "test/epg": float("nan")})
    assert run.read_metrics() == {"val/acc": 0.5, "test/acc": 0.75, "test/n_group/new": 3, "test/epg": None}
    assert '"test/n_group/new": 3,' in run.metrics_file.read_text()


def test_numbers_that_a_measurement_leaves_out_are_named_and_kept(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.update_metrics({"val/acc": 0.5, "test/acc": 0.25, "test/fidelity": 0.1, "test/epg": 0.3}) == []
    assert run.update_metrics({"test/acc": 0.3, "test/fidelity": 0.1, "test/epg": 0.4, "test/pxap": 0.2}) == []
    assert not run.former_metrics_file.exists()
    before = run.read_metrics()
    assert run.update_metrics({"test/acc": 0.75}) == ["test/epg", "test/fidelity", "test/pxap"]
    assert json.loads(run.former_metrics_file.read_text()) == before
    assert run.read_metrics() == {"val/acc": 0.5, "test/acc": 0.75}
    assert run.update_metrics({"test/noise": 0.6}) == ["test/acc"]
    assert json.loads(run.former_metrics_file.read_text()) == before | {"test/acc": 0.75}


def test_environment_entries_are_added(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.update_env({"seed": 0, "ended": None})
    run.update_env({"ended": "now"})
    assert run.read_env() == {"seed": 0, "ended": "now"}


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_metrics_say_so(tmp_path: Path, text: str) -> None:
    run = RunDirectory(tmp_path)
    run.metrics_file.write_text(text)
    with pytest.raises(RunDirectoryError, match=r"metrics\.json is damaged"):
        run.update_metrics({"val/acc": 1.0})
    assert run.metrics_file.read_text() == text


def test_the_run_of_a_checkpoint(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "best.ckpt").touch()
    (tmp_path / "lonely.ckpt").touch()
    assert RunDirectory.of_checkpoint(run.checkpoints / "best.ckpt") is None, "nothing says that a run was here"
    run.write_config({})
    found = RunDirectory.of_checkpoint(run.checkpoints / "best.ckpt")
    assert found is not None
    assert found.path == run.path
    assert run.checkpoint("best") == run.checkpoints / "best.ckpt"
    assert RunDirectory.of_checkpoint(tmp_path / "lonely.ckpt") is None


def test_done_is_taken_away_when_the_run_goes_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.mark_done()
    assert run.done
    leftover = tmp_path / ".metrics.abc.part.json"
    leftover.touch()
    run.reopen()
    assert not run.done
    assert not leftover.exists()


def test_wandb_keeps_one_id(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.wandb_id() is None
    run.keep_wandb_id(run.new_wandb_id())
    assert RunDirectory(tmp_path).wandb_id() == run.wandb_id()
    run.wandb_id_file.write_text("no id/at all")
    with pytest.raises(RunDirectoryError, match=r"wandb_id\.txt is damaged"):
        run.wandb_id()


def test_only_empty_directories_are_discarded(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.discard_if_empty()
    (run.path / "logs" / "version_0").mkdir(parents=True)
    run.discard_if_empty()
    assert not run.path.exists()
    run.update_metrics({"val/acc": 1.0})
    run.discard_if_empty()
    assert json.loads(run.metrics_file.read_text()) == {"val/acc": 1.0}
