"""Stop trainings at 20 random steps each, resume them, and compare with trainings that nobody stopped.

Usage: python benchmarks/preemption.py FOLDER [processes ...]

One training a method and number of processes (1 and 2, or those given) of 30 steps in 5 epochs is stopped by SIGUSR1,
SIGTERM or Ctrl-C at 20 of its steps, drawn at random, and gone on with each time. Weights, state of the optimiser,
schedule, selection and metrics of its end are compared bit by bit.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from maskexp.cli.main import main
from maskexp.results import RunDirectory

torch.set_num_threads(1)

METHODS = {
    "ERM": ["--model=ERM"],
    "AIM": ["--model=AIM", "--model.anneal_fraction=1.0", "--model.gumbel=softmax2"],
    "COMET": ["--model=COMET", "--model.selector=small_convnet", "--model.selector_stride=4", "--model.detector=none"],
}
STEPS, EPOCHS, BATCH, STOPS = 6, 5, 4, 20
CODES = {"SIGUSR1": 75, "SIGTERM": 143, "SIGINT": 130}


def fit(method: str, processes: int, run: RunDirectory, *more: str) -> int:
    """Run the command, in processes of its own if there are several, and return its exit code."""
    flags = [
        *METHODS[method],
        *("--model.backbone=test_resnet", "--model.weights=null", "--data=SyntheticBirds", "--data.image_size=32"),
        *(f"--data.train_size={STEPS * BATCH * processes}", "--data.val_size=9", "--data.test_size=12"),
        *(f"--data.batch_size={BATCH}", "--data.train_transform.photometric=0.5", f"--trainer.max_epochs={EPOCHS}"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--gallery.every_n_epochs=0"),
        *([f"--trainer.devices={processes}", "--trainer.strategy=ddp"] if processes > 1 else []),
        *(f"--run_dir={run}", *more),
    ]
    if processes == 1:
        with Path(f"{run}.log").open("a") as file, redirect_stdout(file), redirect_stderr(file):
            return main(["fit", *flags])
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")} | {"OMP_NUM_THREADS": "1"}
    log = Path(f"{run}.log")
    with log.open("a") as file:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "maskexp", "fit", *flags], stdout=file, stderr=file, env=env, check=False
        ).returncode


def same(one: RunDirectory, other: RunDirectory) -> bool:
    """Whether two runs ended with the same weights, optimiser, schedule, selection and metrics."""
    a, b = (torch.load(run.checkpoints / "last.ckpt", weights_only=True) for run in (one, other))
    weights = all(torch.equal(a["state_dict"][key], b["state_dict"][key]) for key in a["state_dict"])
    states = zip(*(c["optimizer_states"][0]["state"].values() for c in (a, b)), strict=True)
    optimizer = all(torch.equal(x["exp_avg_sq"], y["exp_avg_sq"]) for x, y in states)
    keeper = "KeepCheckpoints"
    rest = a["lr_schedulers"] == b["lr_schedulers"] and a["callbacks"][keeper] == b["callbacks"][keeper]
    return weights and optimizer and rest and one.read_metrics() == other.read_metrics()


def measure(folder: Path, method: str, processes: int) -> str:
    """Return a line of the report."""
    whole, run = (RunDirectory(folder / f"{method}-{processes}-{name}") for name in ("whole", "stopped"))
    if fit(method, processes, whole):
        return f"{method}, {processes} process(es): the training itself failed, see {whole}.log"
    draw = random.Random(f"{method}-{processes}")  # noqa: S311, no secret
    resume: list[str] = []
    for step in sorted(draw.sample(range(STEPS * EPOCHS), STOPS)):
        epoch, batch = divmod(step, STEPS)
        name, rank = draw.choice(list(CODES)), draw.randrange(processes)
        where = {"moment": "batch_end", "epoch": epoch, "batch": batch, "name": name, "rank": rank}
        kill = [f"--trainer.callbacks.{key}={value}" for key, value in where.items()]
        code = fit(method, processes, run, "--trainer.callbacks=tests.cli.kill.Kill", *kill, *resume)
        if code != CODES[name] or run.done:
            return f"{method}, {processes} process(es): exit code {code} at step {step}, see {run}.log"
        resume = ["--ckpt_path=last"]
    if fit(method, processes, run, "--trainer.callbacks=null", *resume):
        return f"{method}, {processes} process(es): the last resumption failed, see {run}.log"
    return f"{method}, {processes} process(es): stopped {STOPS} times, " + (
        "bit-equal" if same(whole, run) else "NOT equal"
    )


if __name__ == "__main__":
    for count in [int(value) for value in sys.argv[2:]] or [1, 2]:
        for each in METHODS:
            print(measure(Path(sys.argv[1]), each, count), flush=True)
