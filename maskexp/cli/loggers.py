"""The loggers of a run: its own CSV log always, and those that the user adds."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from maskexp.cli.config import short_name
from maskexp.cli.errors import CommandError
from maskexp.results import RunDirectory

__all__ = ["settle_wandb", "with_csv_log"]


def with_csv_log(configured: Any, run: RunDirectory) -> Any:
    """Return the configured loggers and a CSV log in the run's directory; none for ``false``."""
    if configured is False:
        return False
    return [*(() if configured in (None, True) else _listed(configured)), CSVLogger(run.path, name="logs")]


def settle_wandb(configured: Any, run: RunDirectory) -> None:
    """Let wandb write into the run's directory and go on with the run's own id.

    Args:
        configured: the parsed setting ``trainer.logger``, changed in place before it is instantiated.
        run: directory of the run.

    Raises:
        CommandError: if wandb is to upload checkpoints.
    """
    for logger in _listed(configured):
        if isinstance(logger, Namespace) and short_name(logger.get("class_path")) == "WandbLogger":
            arguments = logger.init_args
            if arguments.log_model:
                raise CommandError(
                    "trainer.logger.log_model has to stay false: checkpoints stay in the run's directory"
                )
            arguments.save_dir = str(run.path) if arguments.save_dir == "." else arguments.save_dir
            if arguments.id is None and arguments.version is None:
                arguments.id = run.wandb_id()


def _listed(configured: Any) -> list[Any]:
    return configured if isinstance(configured, list) else [configured]
