"""A study on a real SLURM: signalled, killed and requeued at every stage, it ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from maskexp.studies.slurm import TEMPLATE
from tests.slurm.conftest import Cluster

pytestmark = pytest.mark.slow

ROW = {
    "model": {"class_path": "ERM", "init_args": {"backbone": "small_convnet", "weights": None}},
    "data": {
        "class_path": "SyntheticBirds",
        "init_args": {
            "train_size": 320,
            "val_size": 64,
            "test_size": 1000,
            "image_size": 64,
            "batch_size": 8,
            "num_workers": 0,
        },
    },
    "trainer": {
        "max_epochs": 3,
        "accelerator": "cpu",
        "enable_model_summary": False,
        "devices": 2,
        "strategy": "ddp",
    },
}
"""Two tasks of DDP; epochs and test long enough to be met in the middle."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "erm.yaml").write_text(yaml.safe_dump(ROW))
    file = tmp_path / "a_study.yaml"
    columns = [{"metric": f"test/{name}"} for name in ("acc", "acc_worst_group", "epg", "pxap")]
    file.write_text(yaml.safe_dump({"study": "toy", "seeds": [0], "columns": columns, "rows": ["erm.yaml"]}))
    return file


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the same study that nobody interrupts, without SLURM."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "erm.yaml").write_text(yaml.safe_dump(ROW))
    file = folder / "a_study.yaml"
    file.write_text(yaml.safe_dump({"study": "toy", "seeds": [0], "rows": ["erm.yaml"]}))
    done = maskexp("matrix", str(file), "--runs", str(folder / "runs"))
    assert done.returncode == 0, done.stderr
    return next((folder / "runs").glob("erm-*"))


def maskexp(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("SLURM_") or key == "SLURM_CONF"}
    command = [sys.executable, "-m", "maskexp", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def submitted(study: Path, *more: str) -> tuple[str, Path]:
    """Submit what is missing; return the first task of the array and the cell's folder."""
    runs = study.parent / "runs"
    done = maskexp("matrix", str(study), "--runs", str(runs), "--launcher", "slurm", *more)
    assert done.returncode == 0, done.stderr
    job = done.stderr.partition("job ")[2].partition(":")[0]
    return f"{job}_0", next(runs.glob("erm-*"))


def assert_same(run: Path, reference: Path) -> None:
    assert (run / "DONE").exists(), (run / "log.txt").read_text()
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (run, reference)]
    assert metrics[0] == metrics[1]
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, reference)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def in_test(run: Path) -> bool:
    """Whether the validation of the selected checkpoint is written down, so that the test runs."""
    file = run / "metrics.json"
    return file.exists() and "val/acc" in file.read_text()


@pytest.mark.parametrize("moment", ["imports", "epoch 0", "a later epoch", "the test"])
def test_a_warned_task_leaves_and_is_requeued(moment: str, study: Path, cluster: Cluster, reference: Path) -> None:
    task, run = submitted(study)
    cluster.await_step(task)
    if moment == "epoch 0":
        cluster.wait(lambda: (run / "env.json").exists())
    elif moment == "a later epoch":
        cluster.wait(lambda: (run / "checkpoints" / "last.ckpt").exists())
    elif moment == "the test":
        cluster.wait(lambda: in_test(run))
    assert not (run / "DONE").exists()
    cluster.signal(task)
    assert cluster.end(task, requeues=1) == "COMPLETED", (run / "log.txt").read_text()
    log = (run / "log.txt").read_text()
    assert log.count("=== start") == 2, log
    assert_same(run, reference)
    table = maskexp("table", str(study), "--runs", str(run.parent)).stdout
    assert " 1 " in table


def test_a_rank_that_is_killed_fails_the_cell_which_goes_on_when_asked(
    study: Path, cluster: Cluster, reference: Path, tmp_path: Path
) -> None:
    template = tmp_path / "impatient.sbatch"
    template.write_text(TEMPLATE.read_text().replace("--wait=60", "--wait=5"))
    task, run = submitted(study, "--template", str(template))
    cluster.wait(lambda: (run / "checkpoints" / "last.ckpt").exists())
    ranks = subprocess.run(["pgrep", "-f", f"maskexp fit --config {run}/cell.yaml"], capture_output=True, text=True)
    tasks = [
        pid for pid in map(int, ranks.stdout.split()) if b"SLURM_PROCID=1" in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    os.kill(tasks[0], signal.SIGKILL)
    assert cluster.end(task) == "FAILED"
    status = maskexp("matrix", str(study), "--runs", str(run.parent), "--status").stdout
    assert "killed by signal 9" in status
    task, run = submitted(study, "--retry-failed")
    assert cluster.end(task) == "COMPLETED"
    assert_same(run, reference)


def test_what_is_queued_is_not_submitted_again_and_runs_once(study: Path, cluster: Cluster, tmp_path: Path) -> None:
    template = tmp_path / "held.sbatch"
    template.write_text(TEMPLATE.read_text().replace("{{options}}", "#SBATCH --hold\n{{options}}"))
    _, run = submitted(study, "--template", str(template), "--singleton")
    runs = str(run.parent)
    assert "1 queued" in maskexp("matrix", str(study), "--runs", runs, "--status").stdout
    again = maskexp("matrix", str(study), "--runs", runs, "--launcher", "slurm")
    assert "1 are run by another launcher" in again.stderr
    assert "nothing is missing" in again.stderr
    cluster.ask("scancel", "--user", str(os.getuid()))


def test_fit_under_srun_says_what_does_not_fit(cluster: Cluster, tmp_path: Path) -> None:
    small = ["--model=ERM", "--model.backbone=small_convnet", "--model.weights=null", "--trainer.accelerator=cpu"]
    fit = [sys.executable, "-m", "maskexp", "fit", *small, "--trainer.devices=1", f"--run_dir={tmp_path}/r"]
    done = subprocess.run(["srun", "--ntasks-per-node=2", *fit], capture_output=True, text=True, check=False)
    assert "trainer.devices is 1, but SLURM runs 2 tasks on each node; give --trainer.devices 2" in done.stderr
    batch = subprocess.run(
        ["sbatch", "--wait", "--ntasks-per-node=2", f"--output={tmp_path}/out", "--wrap", " ".join(fit)], check=False
    )
    assert batch.returncode == 2
    assert "this job has 2 tasks, but maskexp was started once: put srun before it" in (tmp_path / "out").read_text()
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("options", [["--partition", "nowhere"]])
def test_what_slurm_refuses_is_a_sentence(options: list[str], study: Path, cluster: Cluster) -> None:
    done = maskexp("matrix", str(study), "--runs", str(study.parent / "runs"), "--launcher", "slurm", *options)
    assert done.returncode == 1
    assert "sbatch refused" in done.stderr
    assert "invalid partition" in done.stderr
