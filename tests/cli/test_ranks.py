"""Two processes through the real command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL

TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
UNEVEN = ["--data.test_size=13", "--data.val_size=11", "--data.eval_batch_size=4"]
"""Seven samples on the first rank and six on the second, in two batches each; six and five in validation."""


def maskexp(cwd: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "maskexp", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["test", "validate"])
def test_unequal_shards_give_the_metrics_of_one_process(trained: RunDirectory, tmp_path: Path, verb: str) -> None:
    common: list[str | Path] = [verb, "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, *UNEVEN]
    maskexp(tmp_path, *common, "--run_dir=one")
    maskexp(tmp_path, *common, "--run_dir=two", *TWO)
    one, two = (RunDirectory(tmp_path / name) for name in ("one", "two"))
    assert two.read_env()["evaluations"][verb]["world_size"] == 2
    metrics = one.read_metrics()
    assert metrics["val/n_group/landbird/land" if verb == "validate" else "test/n_group/landbird/land"] in (3, 4)
    assert two.read_metrics() == pytest.approx(metrics, abs=1e-6)


@pytest.mark.slow
def test_an_audit_on_two_processes_says_what_one_says(trained: RunDirectory, tmp_path: Path) -> None:
    audit = "--evaluations=[{class_path: Audit, init_args: {images: 9, hiding: [grey], resamples: 50}}]"
    common: list[str | Path] = ["test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, *UNEVEN, audit]
    maskexp(tmp_path, *common, "--run_dir=one")
    maskexp(tmp_path, *common, "--run_dir=two", *TWO)
    one, two = (RunDirectory(tmp_path / name) for name in ("one", "two"))
    assert two.read_env()["evaluations"]["test"]["world_size"] == 2
    metrics = one.read_metrics()
    assert len([key for key in metrics if key.startswith("test/audit/")]) > 30
    assert two.read_metrics() == pytest.approx(metrics, abs=1e-6, nan_ok=True)
    charts = [(run.evaluations / "audit" / "parts.csv").read_text() for run in (one, two)]
    assert charts[0] == charts[1]


@pytest.mark.slow
def test_predictions_of_two_processes_are_those_of_one(trained: RunDirectory, tmp_path: Path) -> None:
    common: list[str | Path] = [
        "predict",
        "--ckpt_path",
        trained.checkpoints / "best.ckpt",
        *CPU,
        *UNEVEN,
        "--save_attributions=true",
    ]
    maskexp(tmp_path, *common, "--run_dir=one")
    maskexp(tmp_path, *common, "--run_dir=two", *TWO)
    tables = []
    for name in ("one", "two"):
        with (tmp_path / name / "predictions.csv").open() as file:
            tables.append([(row["id"], row["label"], row["predicted"]) for row in csv.DictReader(file)])
    assert len(tables[0]) == 13
    assert tables[0] == tables[1]
    logits = [np.load(tmp_path / name / "logits.npy") for name in ("one", "two")]
    assert logits[1] == pytest.approx(logits[0], abs=1e-5)
    assert len(list((tmp_path / "two" / "attributions").glob("*.npy"))) == 13


@pytest.mark.slow
@pytest.mark.parametrize("method", ["AIM", "DynConv"])
def test_fit_on_two_processes_shares_one_directory(tmp_path: Path, method: str) -> None:
    flags = [*SMALL, *UNEVEN, *TWO, "--data.train_size=25", "--trainer.max_epochs=2"]
    done = maskexp(tmp_path, "fit", f"--model={method}", *flags)
    (folder,) = (tmp_path / "runs" / f"{method.lower()}-syntheticbirds").iterdir()
    run = RunDirectory(folder)
    assert run.done
    assert run.read_env()["world_size"] == 2
    sizes = [
        sum(v or 0 for k, v in run.read_metrics().items() if k.startswith(f"{s}/n_group/")) for s in ("val", "test")
    ]
    assert sizes == [11, 13]
    assert done.stdout.count("checkpoint ") == 1, "only the first rank prints the table"
    again = maskexp(tmp_path, "test", "--ckpt_path", run.checkpoints / "best.ckpt", *CPU, "--run_dir=one")
    assert again.returncode == 0
    alone = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert alone == pytest.approx({key: run.read_metrics()[key] for key in alone}, abs=1e-6)


@pytest.mark.slow
def test_two_processes_resume(tmp_path: Path) -> None:
    flags = [*SMALL, *TWO, "--run_dir=r"]
    maskexp(tmp_path, "fit", "--model=AIM", *flags, "--trainer.max_epochs=1")
    maskexp(tmp_path, "fit", "--model=AIM", *flags, "--trainer.max_epochs=2", "--ckpt_path=last")
    assert torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.slow
def test_processes_of_another_launcher_need_a_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maskexp", "fit", "--model=ERM", *SMALL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"LOCAL_RANK": "1", "WORLD_SIZE": "2", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert "need --run_dir to agree on a directory" in done.stderr
