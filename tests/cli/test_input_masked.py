"""Layer masking as a baseline, through the real command: train it, or take an ERM that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.cli.main import main
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command
from tests.cli.conftest import SMALL as TINY
from tests.fixtures import write_csv

SMALL = [*TINY, "--model.backbone=small_convnet"]  # its map is finer than one cell


@pytest.fixture(scope="module")
def erm(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A trained ERM."""
    run = RunDirectory(tmp_path_factory.mktemp("erm") / "run")
    assert main(["fit", "--model", "ERM", *SMALL, f"--run_dir={run}", "--trainer.max_epochs=1"]) == 0
    return run


def test_an_erm_is_judged_under_every_way_of_hiding(erm: RunDirectory, tmp_path: Path, maskexp: Command) -> None:
    checkpoint, found = erm.checkpoints / "best.ckpt", {}
    for hiding in ("layer", "grey", "black"):
        run = RunDirectory(tmp_path / str(len(found)))
        flags = ["--model", "InputMasked", f"--model.hiding={hiding}", "--run_dir", run, *CPU]
        outcome = maskexp("test", "--ckpt_path", checkpoint, *flags)
        assert outcome.code == 0, outcome.err
        assert "model: 'InputMasked' instead of 'ERM' (checkpoint)" in outcome.err
        found[hiding] = run.read_metrics()["test/epg"]
    assert len(set(found.values())) == 3
    assert erm.read_metrics()["test/epg"] not in found.values()


def test_the_numbers_of_the_erm_stay_its_own(
    erm: RunDirectory, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = erm.read_metrics()
    flags = ["--model", "InputMasked", "--model.hidden=foreground", *CPU]
    assert maskexp("validate", "--ckpt_path", erm.checkpoints / "best.ckpt", *flags).code == 0
    assert erm.read_metrics() == before
    (other,) = (tmp_path / "runs" / "inputmasked-syntheticbirds").iterdir()
    assert "val/acc" in RunDirectory(other).read_metrics()


def test_it_trains_tests_and_predicts_like_any_method(tmp_path: Path, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    assert maskexp("fit", "--model", "InputMasked", *SMALL, "--run_dir", run, "--trainer.max_epochs=1").code == 0
    assert {"val/acc_worst_group", "test/acc_worst_group", "test/epg"} <= run.read_metrics().keys()
    assert maskexp("predict", "--run_dir", run, "--ckpt_path", "best", *CPU).code == 0
    assert (run.path / "predictions.csv").is_file()


def test_only_an_erm_can_stand_in(trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", "--model", "InputMasked", *CPU)
    assert outcome.code == 2
    assert outcome.complaint.strip().endswith("holds the model AIM, not InputMasked")


def test_a_network_that_layer_masking_cannot_treat_is_refused_by_its_layer(tmp_path: Path, maskexp: Command) -> None:
    flags = ["--model.backbone=test_vit", "--data.image_size=160", "--run_dir", tmp_path / "r"]
    outcome = maskexp("fit", "--model", "InputMasked", *SMALL, *flags)
    assert outcome.code != 0
    assert "a visibility mask cannot pass through layer" in outcome.complaint
    assert "hide the region by a colour" in outcome.complaint


def test_data_without_foregrounds_are_refused(tmp_path: Path, maskexp: Command) -> None:
    table = write_csv(tmp_path / "own", mask=None, x0=None, y0=None, x1=None, y1=None)
    outcome = maskexp(
        *("fit", "--model", "InputMasked", "--model.backbone=test_resnet", "--model.weights=null", *CPU),
        *("--data", "Manifest", f"--data.csv={table}", "--data.image_size=32"),
        *("--run_dir", tmp_path / "r", "--trainer.max_epochs=1"),
    )
    assert outcome.code != 0
    assert "InputMasked hides the background, and the data" in outcome.complaint


def test_an_unknown_way_of_hiding_is_told_with_the_choice(erm: RunDirectory, maskexp: Command) -> None:
    for hiding, complaint in (
        ("gray", "there is no way of hiding called 'gray'; choose black, grey"),
        ("#ff0000", "(its default is 'layer'); put quotes around one that begins with #"),
    ):
        flags = ["--model", "InputMasked", f"--model.hiding={hiding}", *CPU]
        outcome = maskexp("test", "--ckpt_path", erm.checkpoints / "best.ckpt", *flags)
        assert outcome.code != 0
        assert complaint in outcome.complaint
