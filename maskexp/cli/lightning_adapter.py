"""The private hooks of Lightning and jsonargparse that we depend on: all of them, each with its reason.

An update of either may break what stands here; ``tests/cli/test_lightning_adapter.py`` has a test for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

__all__ = ["AdaptedCLI", "out_of_time", "restoring_only", "without_finders"]

NOT_ON_THE_COMMAND_LINE = {"spec"}
"""Arguments of methods that a datamodule answers."""


class Parser(LightningArgumentParser):
    """Lightning's parser, which offers no way to leave out an argument of a class that is chosen by name."""

    def add_subclass_arguments(self, baseclass: Any, nested_key: str, *args: Any, **kwargs: Any) -> Any:
        """Add a class that is chosen by name, without what a command line cannot say."""
        if nested_key == "model":
            kwargs["skip"] = {*(kwargs.get("skip") or ()), *NOT_ON_THE_COMMAND_LINE}
        return super().add_subclass_arguments(baseclass, nested_key, *args, **kwargs)


class AdaptedCLI(LightningCLI):
    """LightningCLI with what a subclass needs of its insides under names of our own."""

    verb: str

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(parser_class=Parser, **kwargs)

    def _parse_ckpt_path(self) -> None:
        # Lightning would lay the checkpoint's hyper-parameters over explicit flags; checkpoint_layer is their place.
        return

    def _run_subcommand(self, subcommand: str) -> None:
        # Lightning would call the trainer at once; a run is more than that.
        self.run_verb(subcommand)

    def run_verb(self, verb: str) -> None:
        """Run what was parsed and instantiated."""
        super()._run_subcommand(verb)

    def known_keys(self, verb: str) -> list[str]:
        """Return all dotted keys of a verb's parser, for suggestions."""
        return [action.dest for action in self._parser(verb)._actions]

    def write_out_config(self) -> dict[str, Any]:
        """Return the parsed configuration as plain values, before anything is instantiated."""
        self._dump_config()
        return cast(dict[str, Any], self.config_dump)

    def instantiated(self, key: str) -> Any:
        """Return what a key of the verb has become."""
        return self._get(self.config_init, key)

    def make_trainer(self, settings: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Return the trainer with callbacks added to those of the configuration."""
        return self._instantiate_trainer(settings, callbacks)

    @property
    def settings(self) -> Namespace:
        """The parsed configuration of the verb."""
        return cast(Namespace, self.config[self.verb])


@contextmanager
def restoring_only(trainer: Trainer, checkpoint: str | None) -> Iterator[None]:
    """Let a training restore what it was told to and nothing else: a fresh one starts fresh.

    Without a checkpoint, Lightning looks for one that ``OnExceptionCheckpoint`` or a SLURM requeue left behind,
    possibly of another run.
    """
    connector = cast(Any, trainer)._checkpoint_connector
    if checkpoint is None:
        connector._user_managed, connector._ckpt_path = True, None
    try:
        yield
    finally:
        connector._user_managed = False


def without_finders(callbacks: Any) -> list[Callback] | None:
    """Return the callbacks of a training that goes on: what a finder found stands in its configuration.

    Lightning's finders would look again at each start, and change the rate or the batch size of a resumed training.
    """
    listed = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    return [each for each in listed if not isinstance(each, (LearningRateFinder, BatchSizeFinder))]


def out_of_time(trainer: Trainer) -> bool:
    """Return whether ``max_time`` ended a training before its planned epochs or steps were done."""
    timers = [callback for callback in cast(Any, trainer).callbacks if isinstance(callback, Timer)]
    left = [timer.time_remaining() for timer in timers]
    epochs_left = trainer.max_epochs is None or trainer.max_epochs < 0 or trainer.current_epoch < trainer.max_epochs
    steps_left = trainer.max_steps < 0 or trainer.global_step < trainer.max_steps
    ended = epochs_left and steps_left and any(seconds is not None and seconds <= 0 for seconds in left)
    return bool(trainer.strategy.broadcast(ended))
