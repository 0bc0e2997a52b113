"""What has to be trained before a run: found beside it, or trained first, resumably, by the same machinery.

A detector lies in ``<parent of the run's directory>/detectors/<method>-<backbone>-<digest>``, a run directory like any
other. The digest is over the data and everything that its numbers depend on, maskexp's version included, so that the
next run that needs the same detector finds it, and one that needs another does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

from maskexp._version import __version__
from maskexp.cli.config import Configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.terminal import note
from maskexp.files import exclusive_lock
from maskexp.methods.pretraining import Pretraining
from maskexp.process import first_process
from maskexp.results import RunDirectory

__all__ = ["train_first"]

Start = Callable[[Configuration, RunDirectory, Path | None], bool]
"""Trains by a configuration in a directory, from a checkpoint if there is one; returns whether it came to its end."""

TRAINER_KEYS = (
    *("accumulate_grad_batches", "devices", "gradient_clip_algorithm", "gradient_clip_val", "limit_train_batches"),
    *("limit_val_batches", "max_epochs", "max_steps", "num_nodes", "overfit_batches", "precision"),
    *("check_val_every_n_epoch", "sync_batchnorm", "val_check_interval"),
)
"""Settings of the trainer that change what is learned; all others keep their defaults or do not matter."""

DATA_KEYS_THAT_DO_NOT_MATTER = ("cache_dir", "eval_batch_size", "num_workers", "predict_split", "test_split")
"""Beside these, paths do not matter: the data's digest says what lies there."""


def train_first(
    need: Pretraining, config: Mapping[str, Any], data_digest: str, home: RunDirectory, start: Start
) -> Path:
    """Return the checkpoint of what a method needs trained first, after training it where that was not done yet.

    Args:
        need: what to train.
        config: the complete configuration of the run that needs it.
        data_digest: of the data's manifest.
        home: directory of the run that needs it.
        start: trains.

    Raises:
        CommandError: if another job is training it while this one's processes run already, or if ``max_time`` ended its
            training early.
    """
    configuration = _configuration(need, config)
    name = f"{need.method}-{need.arguments['backbone']}-{_digest(configuration, data_digest)}".lower()
    run = RunDirectory(home.path.parent / f"{need.role}s" / name)
    with _exclusive(run):
        found = run.checkpoint("best") if run.done else None
        if found is None:
            last = run.checkpoint("last")
            note(f"{'going on with' if last else 'training'} the {need.role} first: {run}")
            complete = start(Configuration(configuration), run, last)
            found = run.checkpoint("best")
            if found is not None and not complete:
                raise CommandError(
                    f"trainer.max_time ended the training of the {need.role} in {run} before its last epoch; give the "
                    "same command again to go on with it"
                )
        else:
            note(f"{need.role}: {run}")
    if found is None:
        raise CommandError(f"{run} holds no best.ckpt after the training of the {need.role}")
    return found


def _configuration(need: Pretraining, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the pre-training: that of the run, but for the method and what belongs to the run."""
    kept = {key: deepcopy(config[key]) for key in ("seed_everything", "data", "selection", "gallery") if key in config}
    if need.selection is not None:
        kept["selection"] = {"metric": need.selection}
    trainer = deepcopy(dict(config["trainer"])) | {"logger": None, "callbacks": None}
    if need.epochs is not None:
        trainer["max_epochs"] = need.epochs
    if batches := int(trainer["fast_dev_run"] or 0):
        limits = {"limit_train_batches": batches, "limit_val_batches": batches, "max_epochs": 1}
        trainer |= {"fast_dev_run": False, **limits}
    model = {"class_path": need.method, "init_args": dict(need.arguments)}
    return kept | {"trainer": trainer, "model": model, "test_after_fit": False}


def _digest(configuration: Mapping[str, Any], data_digest: str) -> str:
    """Return ten digits over everything that the numbers depend on."""
    arguments = configuration["data"].get("init_args") or {}
    data = {
        key: value
        for key, value in arguments.items()
        if key not in DATA_KEYS_THAT_DO_NOT_MATTER and not key.endswith("root")
    }
    content = {
        "data": [data_digest, data],
        "model": configuration["model"],
        "seed": configuration["seed_everything"],
        "selection": configuration.get("selection"),
        "trainer": {key: configuration["trainer"].get(key) for key in TRAINER_KEYS},
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(_plain(content), sort_keys=True, default=str).encode()).hexdigest()[:10]


def _plain(value: Any) -> Any:
    """Return values in one spelling: 0.0 is 0, a tuple is a list, and a file of weights is its content."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and Path(value).is_file():
        with Path(value).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return value


@contextmanager
def _exclusive(run: RunDirectory) -> Iterator[None]:
    """Let one job at a time look for, and train, what lies in a directory.

    The first process of a job holds the lock. Where it has yet to start the others, it waits for another job. Where a
    cluster has started them already, they may have decided otherwise than a process that waited, so it gives up.

    Raises:
        CommandError: if it gives up.
    """

    def when_busy() -> None:
        if int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1) > 1:
            raise CommandError(f"another job is training in {run.path}; start again when it has ended")
        note(f"another job is training in {run.path}; waiting for it")

    with exclusive_lock(run.path, when_busy) if first_process() else nullcontext():
        yield
