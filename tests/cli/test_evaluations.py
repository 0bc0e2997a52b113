"""Evaluations of attributions through the real command: keys, files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command
from tests.cli.test_ranks import TWO, UNEVEN
from tests.cli.test_ranks import maskexp as in_processes

SEVERAL = (
    "[Localization, {class_path: Fidelity, init_args: {hiding: [grey, layer], shares: [0.1]}}, "
    "{class_path: InsertionAndDeletion, init_args: {steps: 2}}, SufficiencyAndComprehensiveness, NoiseRobustness]"
)


def test_several_at_once_are_stored_and_drawn(tmp_path: Path, trained: RunDirectory, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "measured")
    outcome = maskexp(
        *("test", f"--ckpt_path={trained.checkpoints / 'best.ckpt'}", *CPU, f"--run_dir={run}"),
        f"--evaluations={SEVERAL}",
    )
    assert outcome.code == 0, outcome.err
    metrics = run.read_metrics()
    for name in ("epg", "pxap_fine", "iou_auc", "iou", "pointing_game"):
        for row in ("", "_grad_cam", "_random", "_centred_gaussian", "_constant", "_ground_truth"):
            assert metrics[f"test/localization/{name}{row}"] is not None
    assert metrics["test/localization/pxap"] == metrics["test/pxap"]
    assert metrics["test/localization/epg_constant"] == pytest.approx(metrics["test/epg_baseline"], abs=1e-6)
    assert metrics["test/localization/iou_threshold"] == metrics["val/localization/iou_best_threshold"]
    assert metrics["test/fidelity/pipeline/00"] == metrics["test/fidelity/predictor/00"] == metrics["test/acc"]
    assert "test/fidelity/layer/pipeline/10_random" in metrics
    assert "test/insertion/blur/predictor" in metrics
    assert "test/sufficiency/grey/soft_grad_cam" in metrics
    assert "test/noise/acc_90" in metrics
    assert not any(name.startswith("val/fidelity") for name in metrics)
    drawn = {path.relative_to(run.evaluations).as_posix() for path in run.evaluations.rglob("*.png")}
    assert {"localization/iou.png", "fidelity/grey_pipeline_remove.png", "deletion/grey_predictor.png"} <= drawn


def test_a_smaller_measurement_says_what_it_replaces(tmp_path: Path, trained: RunDirectory, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "measured")
    test = ("test", f"--ckpt_path={trained.checkpoints / 'best.ckpt'}", *CPU, f"--run_dir={run}")
    assert maskexp(*test, "--evaluations=[NoiseRobustness]").code == 0
    whole = run.read_metrics()
    assert maskexp(*test, "--evaluations=[NoiseRobustness]").code == 0
    assert not run.former_metrics_file.exists()

    with pytest.warns(UserWarning, match="12 numbers of an earlier `test` were not measured this time"):
        assert maskexp(*test).code == 0
    lost = whole.keys() - run.read_metrics().keys()
    assert len(lost) == 12
    assert all(name.startswith("test/noise/") for name in lost)
    assert json.loads(run.former_metrics_file.read_text()) == whole


def test_foregrounds_that_are_missing_are_a_sentence(tmp_path: Path, trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp(
        *("test", f"--ckpt_path={trained.checkpoints / 'best.ckpt'}", *CPU, f"--run_dir={tmp_path / 'r'}"),
        *("--data.foreground=none", "--evaluations=[Localization]"),
    )
    assert outcome.code != 0
    assert "Localization compares attributions with foregrounds, and synthetic_birds has none" in outcome.complaint
    assert len(outcome.complaint.splitlines()) == 1


def test_a_variant_that_the_data_do_not_have(tmp_path: Path, trained: RunDirectory, maskexp: Command) -> None:
    outcome = maskexp(
        *("test", f"--ckpt_path={trained.checkpoints / 'best.ckpt'}", *CPU, f"--run_dir={tmp_path / 'r'}"),
        "--evaluations=[{class_path: BackgroundGap, init_args: {root: nowhere}}]",
    )
    assert outcome.code != 0
    assert "BackgroundGap needs the variants of ImageNet-9, but the data are synthetic_birds" in outcome.complaint


@pytest.mark.slow
def test_two_processes_say_what_one_says(trained: RunDirectory, tmp_path: Path) -> None:
    common = ["test", f"--ckpt_path={trained.checkpoints / 'best.ckpt'}", *CPU, *UNEVEN, f"--evaluations={SEVERAL}"]
    in_processes(tmp_path, *common, "--run_dir=one")
    in_processes(tmp_path, *common, "--run_dir=two", *TWO)
    one, two = (RunDirectory(tmp_path / name) for name in ("one", "two"))
    assert two.read_env()["evaluations"]["test"]["world_size"] == 2
    assert two.read_metrics() == pytest.approx(one.read_metrics(), abs=1e-6)
    assert two.read_metrics()["test/localization/iou"] > 0
