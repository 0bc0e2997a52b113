"""The loggers of a run: its own CSV log always, and those that the user names; all write into the run's directory."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch.loggers
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from maskexp.cli.arguments import take_values
from maskexp.cli.config import Configuration, short_name
from maskexp.cli.errors import CommandError
from maskexp.results import RunDirectory
from maskexp.suggestions import did_you_mean

__all__ = ["named_loggers", "settle_loggers", "with_csv_log"]

SHORT_NAMES = {"wandb": "WandbLogger", "tensorboard": "TensorBoardLogger", "csv": "CSVLogger"}
FILES = (".yaml", ".yml", ".json")
HERE = "."
"""Stands for the directory of the run, which is not known yet when the parser wants to know where a logger writes."""


def named_loggers(configuration: Configuration, flags: Sequence[str]) -> list[str]:
    """Turn the names of loggers into what the parser takes, in the configuration, and return the flags likewise.

    ``wandb``, ``tensorboard`` and ``csv`` are short for Lightning's classes, alone or in a list.

    Raises:
        CommandError: if Lightning has no such logger.
    """
    trainer = configuration.values.get("trainer")
    if isinstance(trainer, dict) and "logger" in trainer:
        trainer["logger"] = _resolved(trainer["logger"])
    changed = []
    remaining = list(flags)
    while remaining:
        flag = remaining.pop(0)
        if flag.partition("=")[0] != "--trainer.logger":
            changed.append(flag)
            continue
        (value,), rest = take_values([flag, *remaining[: "=" not in flag]], "--trainer.logger")
        remaining = [*rest, *remaining["=" not in flag :]]
        resolved = _resolved(_read(value))
        changed.append(f"--trainer.logger={resolved if isinstance(resolved, str) else json.dumps(resolved)}")
    return changed


def with_csv_log(configured: Any, run: RunDirectory) -> Any:
    """Return the configured loggers and a CSV log in the run's directory; none for ``false``."""
    if configured is False:
        return False
    others = [logger for logger in _listed(configured) if not isinstance(logger, (bool, CSVLogger | None))]
    return [*others, CSVLogger(run.path, name="logs")]


def settle_loggers(configured: Any, run: RunDirectory) -> None:
    """Let loggers write into the run's directory, and wandb go on with the run's own id.

    Args:
        configured: the parsed setting ``trainer.logger``, changed in place before it is instantiated.
        run: directory of the run.

    Raises:
        CommandError: if wandb is to upload checkpoints, or if the run is known to wandb under another id than the one
            that the environment asks for.
    """
    for logger in _listed(configured):
        if not isinstance(logger, Namespace):
            continue
        arguments, name = logger.init_args, short_name(logger.get("class_path"))
        if arguments.get("save_dir") in (HERE, None) and "save_dir" in arguments:
            arguments.save_dir = str(run.path.resolve())  # wandb writes from a process of its own
        if name == "WandbLogger":
            if arguments.log_model:
                raise CommandError(
                    "trainer.logger.log_model has to stay false: checkpoints stay in the run's directory"
                )
            if arguments.project in (None, "lightning_logs"):
                arguments.project = os.environ.get("WANDB_PROJECT", "maskexp")
            if arguments.id is None and arguments.version is None:
                arguments.id = _wandb_id(run)
            if arguments.name is None and "WANDB_SWEEP_ID" not in os.environ:
                arguments.name = os.environ.get("WANDB_NAME", run.path.name)
            arguments.offline = arguments.offline or os.environ.get("WANDB_MODE") == "offline"


def _wandb_id(run: RunDirectory) -> str:
    """Return the id that wandb will use: a sweep's agent, or a user, may set it in the environment."""
    kept, given = run.wandb_id(), os.environ.get("WANDB_RUN_ID")
    if given is None:
        return kept or run.new_wandb_id()
    if kept is not None and kept != given:
        raise CommandError(
            f"{run.wandb_id_file} says that this run is {kept} at wandb, but WANDB_RUN_ID is {given}; choose another "
            "--run_dir, or leave WANDB_RUN_ID out to go on with the run"
        )
    return given


def _resolved(configured: Any) -> Any:
    """Return the setting with names in the place of short names, and with a directory where the parser needs one."""
    if isinstance(configured, list):
        return [_resolved(each) for each in configured]
    if isinstance(configured, str) and not configured.startswith(("{", "[")) and not configured.endswith(FILES):
        name = SHORT_NAMES.get(
            configured, short_name(configured) if configured.startswith("lightning.") else configured
        )
        if "." in name:
            return {"class_path": name}
        if name not in lightning.pytorch.loggers.__all__:
            choices = [*SHORT_NAMES, *lightning.pytorch.loggers.__all__]
            raise CommandError(f"there is no logger {configured!r}; {did_you_mean(configured, choices)}")
        takes_folder = "save_dir" in inspect.signature(getattr(lightning.pytorch.loggers, name).__init__).parameters
        return {"class_path": name, **({"init_args": {"save_dir": HERE}} if takes_folder else {})}
    if isinstance(configured, Mapping) and isinstance(configured.get("class_path"), str):
        named = _resolved(configured["class_path"])
        arguments = {**named.get("init_args", {}), **(configured.get("init_args") or {})}
        return {**configured, "class_path": named["class_path"], **({"init_args": arguments} if arguments else {})}
    return configured


def _read(value: str) -> Any:
    """Return what a flag's value says: a name, a list of names, or what the parser understands by itself."""
    text = value.strip()
    if text in ("true", "True", "false", "False", "null", "None"):
        return {"true": True, "false": False, "null": None, "none": None}[text.lower()]
    if text.startswith("[") and text.endswith("]"):
        return value if "{" in text else [_read(each.strip().strip("'\"")) for each in text[1:-1].split(",")]
    return value


def _listed(configured: Any) -> list[Any]:
    return configured if isinstance(configured, list) else [configured]
