"""Which checkpoint and which run a command is about, and what the checkpoint says about the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maskexp.callbacks import KeepCheckpoints
from maskexp.cli.errors import CommandError
from maskexp.data.transforms.stored import in_todays_form
from maskexp.methods.checkpoint import CheckpointError, method_name, read_checkpoint
from maskexp.methods.loading import current_arguments
from maskexp.process import first_process
from maskexp.results import RunDirectory

__all__ = ["checkpoint_facts", "checkpoint_layer", "locate", "run_directory"]

NAMES = ("best", "last")
RUN_DIR_VARIABLE = "MASKEXP_RUN_DIR"
"""How the first process tells the processes that it starts where the run is written."""


def locate(verb: str, run_dir: str | None, ckpt_path: str | None) -> tuple[RunDirectory | None, Path | None]:
    """Return the run that a command goes on with or writes to, and the checkpoint that it starts from.

    ``best`` and ``last`` are looked up in ``run_dir``. Either may be None: then the run is to get a new directory, or
    the training starts afresh.

    Raises:
        CommandError: if a checkpoint is needed and there is none, or a run would be overwritten.
    """
    run = RunDirectory(run_dir) if run_dir else None
    if ckpt_path is None:
        if verb != "fit":
            raise CommandError(
                f"maskexp {verb} needs a trained model: give --ckpt_path FILE, or --run_dir DIR --ckpt_path best"
            )
        if run is not None and run.holds_run and first_process():
            raise CommandError(
                f"{run} already holds a run; go on with it by --ckpt_path last, or choose another --run_dir"
            )
        return run, None
    if ckpt_path in NAMES:
        return run, _named(verb, run, ckpt_path)
    checkpoint = Path(ckpt_path)
    if not checkpoint.is_file():
        raise CommandError(f"there is no checkpoint {ckpt_path!r}; give a file, or best or last with --run_dir DIR")
    home = RunDirectory.of_checkpoint(checkpoint)
    if verb == "fit" and run is not None and run.holds_run and not _same_run(run, home) and first_process():
        raise CommandError(f"{run} already holds a run that {checkpoint} is not from; choose another --run_dir")
    return (run or home) if verb == "fit" else run, checkpoint


def run_directory(method: str, data: str) -> RunDirectory:
    """Return the directory of a run for which none was given, the same one for all its processes.

    Raises:
        CommandError: if the processes were started by somebody else, so that they cannot agree on a name.
    """
    if not first_process():
        shared = os.environ.get(RUN_DIR_VARIABLE)
        if shared is None:
            raise CommandError("processes started by torchrun, SLURM or by hand need --run_dir to agree on a directory")
        return RunDirectory(shared)
    run = RunDirectory.fresh(method, data)
    os.environ[RUN_DIR_VARIABLE] = str(run)
    return run


def checkpoint_layer(verb: str, path: Path) -> dict[str, Any]:
    """Return what a checkpoint and its run say about the configuration.

    The model's arguments are those in the checkpoint. The data comes from the run's config.yaml or, where the
    checkpoint has been moved elsewhere, from the checkpoint; for ``fit``, which goes on training, so does the rest.

    Raises:
        CommandError: if the file is not a checkpoint of ours.
    """
    content = _read(path)
    home = RunDirectory.of_checkpoint(path)
    config = {} if home is None else home.read_config()
    layer = config if verb == "fit" else {key: config[key] for key in ("data",) if key in config}
    method = method_name(content)
    layer["model"] = _section(current_arguments(method, content["hyper_parameters"]), method)
    stored = content.get("datamodule_hyper_parameters", {})
    if "data" not in layer and "_class_path" in stored:
        layer["data"] = _section(stored, stored["_class_path"])
    if isinstance(data := layer.get("data"), dict) and isinstance(data.get("init_args"), dict):
        layer["data"] = {**data, "init_args": in_todays_form(data["init_args"])}
    return layer


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Return the path, the epoch, counted from 0, and by which rule the checkpoint was selected.

    That it is the best so far stands in the checkpoint itself, so that a copy of best.ckpt elsewhere is still known.
    """
    content = _read(path)
    state = content.get("callbacks", {}).get(KeepCheckpoints.__qualname__, {})
    return {
        "path": str(path),
        "epoch": content["epoch"],
        "rule": state.get("rule"),
        "score": state.get("score"),
        "selected": state.get("epoch") == content["epoch"],
    }


def is_selected(path: Path) -> bool:
    """Whether a checkpoint lies where its run keeps the one that the selection rule chose."""
    return path.name == "best.ckpt" and RunDirectory.of_checkpoint(path) is not None


def _named(verb: str, run: RunDirectory | None, name: str) -> Path | None:
    if run is None:
        raise CommandError(f"--ckpt_path {name} is looked up in a run: add --run_dir DIR")
    checkpoint = run.checkpoint(name)
    if checkpoint is None and not (verb == "fit" and name == "last"):
        others = [other for other in NAMES if run.checkpoint(other)]
        instead = f"; there is {' and '.join(others)}" if others else ""
        raise CommandError(f"{run.checkpoints} holds no {name}.ckpt{instead}")
    return checkpoint


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        raise CommandError(str(error)) from error


def _section(hyper_parameters: dict[str, Any], class_path: str) -> dict[str, Any]:
    arguments = {key: value for key, value in hyper_parameters.items() if not key.startswith("_")}
    return {"class_path": hyper_parameters.get("_class_path", class_path), "init_args": arguments}


def _same_run(run: RunDirectory, other: RunDirectory | None) -> bool:
    return other is not None and run.path.resolve() == other.path.resolve()
