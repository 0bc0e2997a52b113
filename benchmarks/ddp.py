"""Training on two processes against one, by the same global batch, in turns on one machine.

Usage: python benchmarks/ddp.py [rounds]

Each round runs `maskexp fit` on drawn birds with 2 and with 6 epochs, on one process and on two that exchange gradients
by gloo; the difference of the two lengths is the time of 4 epochs, validation included, without start and test. A
process has one thread, so that two processes have twice the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

EPOCHS, IMAGES, BATCH = (2, 6), 1024, 64
METHODS = ("ERM", "AIM")


def seconds(method: str, processes: int, epochs: int) -> float:
    """Return how long a training takes from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "maskexp", "fit", "--model", method, "--model.backbone=small_convnet"),
            *("--model.weights=null", "--data=SyntheticBirds", f"--data.train_size={IMAGES}", "--data.val_size=64"),
            *("--data.test_size=64", f"--data.batch_size={BATCH // processes}", "--data.num_workers=0"),
            *("--trainer.accelerator=cpu", f"--trainer.devices={processes}", f"--trainer.max_epochs={epochs}"),
            *("--trainer.enable_progress_bar=false", "--gallery.every_n_epochs=0", f"--run_dir={folder}/run"),
            *(["--trainer.strategy=ddp"] if processes > 1 else []),
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**environment, "OMP_NUM_THREADS": "1"})  # noqa: S603
        return time.perf_counter() - begin


def main(rounds: int = 2) -> None:
    """Print images a second of each method on one process and on two, and their ratio."""
    for method in METHODS:
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for processes, found in rates.items():
                short, long = (seconds(method, processes, epochs) for epochs in EPOCHS)
                found.append(IMAGES * (EPOCHS[1] - EPOCHS[0]) / (long - short))
        ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
        one, two = (statistics.median(rates[processes]) for processes in (1, 2))
        print(
            f"{method}: {one:.0f} images/s on one process, {two:.0f} on two; "
            f"ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
