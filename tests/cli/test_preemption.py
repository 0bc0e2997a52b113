"""Asked to stop at some moment and resumed: the numbers are those of a training that nobody stopped."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskexp.cli.main import main
from maskexp.results import RunDirectory
from tests.cli.conftest import SMALL, Command
from tests.cli.test_resume import ROOT, assert_same_training, content

RANDOM = ["--data.train_transform.photometric=0.5", "--trainer.max_epochs=3", "--gallery.every_n_epochs=0"]
METHODS = {
    "ERM": ["--model=ERM"],
    "AIM": ["--model=AIM", "--model.anneal_fraction=1.0", "--model.gumbel=softmax2"],
    "COMET": ["--model=COMET", "--model.selector=small_convnet", "--model.selector_stride=4", "--model.detector=none"],
}
STEPS = 3  # of an epoch: 24 samples in batches of 8


def kill(name: str, moment: str, epoch: int = 0, batch: int = 0, rank: int = 0) -> list[str]:
    where = {"moment": moment, "epoch": epoch, "batch": batch, "name": name, "rank": rank}
    return ["--trainer.callbacks=tests.cli.kill.Kill", *(f"--trainer.callbacks.{key}={v}" for key, v in where.items())]


def flags(run: RunDirectory, method: str, *more: str) -> list[str]:
    return ["fit", *METHODS[method], *SMALL, *RANDOM, f"--run_dir={run}", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    runs = {}
    for method in METHODS:
        runs[method] = RunDirectory(tmp_path_factory.mktemp(method) / "run")
        assert main(flags(runs[method], method)) == 0
    return runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "where"),
    [
        ("SIGTERM", 143, ("batch_end", 0, 0)),
        ("SIGUSR1", 75, ("batch_end", 1, 1)),
        ("SIGINT", 130, ("batch_end", 1, STEPS - 1)),
        ("SIGUSR1", 75, ("validation", 1)),
        ("SIGTERM", 143, ("epoch_start", 2)),
        ("SIGUSR1", 75, ("validation", 2)),
        ("SIGUSR1", 75, ("test",)),
    ],
)
def test_leaves_with_the_exit_code_of_the_signal_and_goes_on_bit_equal(
    maskexp: Command,
    tmp_path: Path,
    whole: dict[str, RunDirectory],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: int,
    where: tuple[str, ...],
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    run = RunDirectory(tmp_path / "run")
    left = maskexp(*flags(run, "AIM", *kill(name, *where)))
    assert left.code == code
    sender = "the keyboard" if name == "SIGINT" else name
    assert left.complaint == f"stopped by {sender}; go on with: maskexp fit --run_dir {run} --ckpt_path last"
    assert not run.done
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert maskexp("fit", f"--run_dir={run}", "--ckpt_path=last", "--trainer.callbacks=null").code == 0
    assert run.done
    assert_same_training(run, whole["AIM"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ERM", "AIM", "COMET"])
def test_stopped_again_and_again_at_random_steps(
    maskexp: Command, tmp_path: Path, whole: dict[str, RunDirectory], method: str
) -> None:
    run, draw = RunDirectory(tmp_path / "run"), random.Random(method)  # noqa: S311, no secret
    resume: list[str] = []
    for step in sorted(draw.sample(range(3 * STEPS - 1), 3)):
        where = kill("SIGUSR1", "batch_end", *divmod(step, STEPS))
        assert maskexp(*flags(run, method, *where, *resume)).code == 75
        if step % STEPS < STEPS - 1:
            assert content(run)["global_step"] == step + 1
        resume = ["--ckpt_path=last"]
    assert maskexp(*flags(run, method, *resume, "--trainer.callbacks=null")).code == 0
    assert_same_training(run, whole[method])


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [["--trainer.accumulate_grad_batches=2"], ["--trainer.val_check_interval=0.34"], ["--data.num_workers=1"]],
    ids=["accumulation", "validations inside the epoch", "worker processes"],
)
def test_goes_on_bit_equal_with(maskexp: Command, tmp_path: Path, rule: list[str]) -> None:
    one, two = RunDirectory(tmp_path / "one"), RunDirectory(tmp_path / "two")
    assert maskexp(*flags(one, "AIM", *rule)).code == 0
    assert maskexp(*flags(two, "AIM", *rule, *kill("SIGUSR1", "batch_end", 1, 0))).code == 75
    assert maskexp(*flags(two, "AIM", *rule, "--ckpt_path=last", "--trainer.callbacks=null")).code == 0
    assert_same_training(two, one)


@pytest.mark.slow
def test_a_checkpoint_inside_an_epoch_serves_after_a_kill(tmp_path: Path, whole: dict[str, RunDirectory]) -> None:
    run = RunDirectory(tmp_path / "run")
    often = ["--checkpoint_every=00:00:01", *kill("SIGKILL", "batch_end", 1, 1)]
    delayed = "import time; from maskexp.methods import AIM as M; o = M.training_step\n"
    delayed += "M.training_step = lambda s, b, i: (time.sleep(1.1), o(s, b, i))[1]\n"
    delayed += "import sys; from maskexp.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", delayed, *flags(run, "AIM", *often)]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert content(run)["global_step"] == STEPS + 1, "the kill came before the checkpoint of its own step"
    assert main(["fit", f"--run_dir={run}", "--ckpt_path=last", "--trainer.callbacks=null"]) == 0
    assert_same_training(run, whole["AIM"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["AIM", "COMET"])
def test_two_processes_leave_together_when_one_is_asked_and_go_on_bit_equal(tmp_path: Path, method: str) -> None:
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4", "--data.val_size=9"]

    def fit(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "maskexp", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)

    one, other = RunDirectory(tmp_path / "one"), RunDirectory(tmp_path / "other")
    assert fit(*flags(one, method, *two)).returncode == 0
    left = fit(*flags(other, method, *two, *kill("SIGUSR1", "batch_end", 1, 0, rank=1)))
    assert left.returncode == 75, left.stderr
    assert left.stderr.count("stopped by SIGUSR1") == 1
    assert content(other)["global_step"] == STEPS + 1
    done = fit(*flags(other, method, *two, "--ckpt_path=last", "--trainer.callbacks=null"))
    assert done.returncode == 0, done.stderr
    assert_same_training(other, one)


def test_a_time_that_is_not_positive_is_refused(maskexp: Command, tmp_path: Path) -> None:
    for value, sentence in (("0:00:00", "has to be a positive time"), ("soon", "checkpoint_every is 'soon'")):
        refused = maskexp(*flags(RunDirectory(tmp_path / "run"), "ERM", f"--checkpoint_every={value}"))
        assert refused.code != 0
        assert sentence in refused.complaint
        assert not (tmp_path / "run").exists()


def test_without_a_checkpoint_the_same_command_is_the_way_on(
    maskexp: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run = RunDirectory(tmp_path / "run")
    left = maskexp(*flags(run, "ERM", *kill("SIGTERM", "fit_start")))
    assert left.code == 75
    assert left.complaint == "stopped by SIGTERM; start the same command again"
    assert not run.path.exists()
    assert maskexp(*flags(run, "ERM")).code == 0
