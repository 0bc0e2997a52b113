"""Provenance: what a run writes about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torchmetrics.utilities import rank_zero_warn

from maskexp.callbacks.checkpoints import KeepCheckpoints
from maskexp.callbacks.wandb_log import log_configuration, wandb_runs
from maskexp.methods.supervision import Supervision, strongest
from maskexp.results.environment import describe_environment, now
from maskexp.results.run_directory import RunDirectory
from maskexp.types import attached_datamodule, required_datamodule

__all__ = ["RunRecorder"]

TUNED = {"model": {"lr", "backbone_lr"}, "data": {"batch_size"}}
"""Arguments that Lightning's tuners set before the first step."""

RULES_OF_GROUPS = ("acc_worst_group", "acc_group_mean", "acc_adjusted")
"""Selection rules that need to know the groups of the validation images."""


class RunRecorder(Callback):
    """Write config.yaml and env.json when a training has started, and metrics.json after each measurement.

    Only the first rank writes. An evaluation leaves the training's configuration and environment as they are and adds
    an entry of its own under ``evaluations`` in env.json, with whatever differs from the training's.

    Args:
        run: the directory of the run.
        config: the whole configuration, plain values.
        command: program and arguments.
        seed: of everything that is drawn.
    """

    def __init__(self, run: RunDirectory, config: Mapping[str, Any], command: Sequence[str], seed: int) -> None:
        self.run = run
        self.config = dict(config)
        self.command = list(command)
        self.seed = seed
        self.started = now()
        self._recorded = False

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the whole configuration to the loggers, which write it down when they begin."""
        self._note_tuned(trainer, pl_module)
        log_configuration(wandb_runs(trainer.loggers), self.config, self._started(trainer))
        for logger in trainer.loggers:
            if not isinstance(logger, WandbLogger):
                logger.log_hyperparams(self.config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down a new run, which has passed all checks that come before the first step."""
        self._note_tuned(trainer, pl_module)
        if not self.run.holds_run:
            self._record_start(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write down that a run goes on, once it does: a resumption that fails before changes nothing."""
        self._record_start(trainer)

    @rank_zero_only
    def _record_start(self, trainer: Trainer) -> None:
        """Write down what runs; once, and not for a trial run."""
        if self._recorded or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._recorded = True
        before = self.run.read_env()
        history = [*before.pop("earlier_starts", []), _without(before, "evaluations")] if before else []
        self.run.reopen()
        self.run.write_config(self.config)
        self.run.update_env(self._started(trainer) | {"ended": None, "earlier_starts": history})
        for each in wandb_runs(trainer.loggers):
            self.run.keep_wandb_id(each.id)

    @rank_zero_only
    def record_measurement(self, trainer: Trainer, verb: str, checkpoint: Mapping[str, Any]) -> dict[str, float]:
        """Write the metrics of ``trainer.validate`` or ``trainer.test`` and which checkpoint they belong to.

        Args:
            trainer: after the measurement.
            verb: ``validate`` or ``test``.
            checkpoint: JSON-able facts about the checkpoint.

        Returns:
            The metrics, as they were measured.
        """
        prefix = {"validate": "val/", "test": "test/"}[verb]
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(prefix)}
        if missing := self.run.update_metrics(metrics):
            rank_zero_warn(
                f"{len(missing)} numbers of an earlier `{verb}` were not measured this time and are no longer in "
                f"{self.run.metrics_file}, such as {missing[0]}; they are kept in {self.run.former_metrics_file.name}"
            )
        self.record_evaluation(trainer, verb, checkpoint)
        return metrics

    @rank_zero_only
    def record_evaluation(self, trainer: Trainer, verb: str, checkpoint: Mapping[str, Any]) -> None:
        """Write down how ``verb`` was run, and on which checkpoint."""
        known = self.run.read_env()
        entry = {key: value for key, value in self._environment(trainer).items() if known.get(key) != value}
        entry |= {"checkpoint": dict(checkpoint), "ended": now()}
        self.run.update_env({"evaluations": known.get("evaluations", {}) | {verb: entry}})

    @rank_zero_only
    def finish(self) -> None:
        """Mark the training as done."""
        self.run.update_env({"ended": now()})
        self.run.mark_done()

    def _started(self, trainer: Trainer) -> dict[str, Any]:
        told = {"global_batch_size": global_batch_size(trainer), "supervision": supervision_of(trainer)}
        return self._environment(trainer) | told

    def _note_tuned(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what a learning-rate or batch-size finder chose in the place of what was configured."""
        data = attached_datamodule(trainer)
        for section, owner in (("model", pl_module), ("data", data)):
            arguments = (self.config.get(section) or {}).get("init_args") or {}
            for name in TUNED[section] & arguments.keys():
                chosen = getattr(owner, name, arguments[name])
                if arguments[name] is not None and chosen != arguments[name]:
                    self.config[section] = {**self.config[section], "init_args": {**arguments, name: chosen}}
                    arguments = self.config[section]["init_args"]

    def _environment(self, trainer: Trainer) -> dict[str, Any]:
        device = trainer.strategy.root_device
        environment = describe_environment(self.command, self.started, self.seed, trainer.world_size, device)
        data = required_datamodule(trainer, "RunRecorder")
        described = {"name": data.spec.name, "variant": data.spec.variant, "digest": data.digest, "notes": data.notes}
        return environment | {"precision": str(trainer.precision), "data": described}


def global_batch_size(trainer: Trainer) -> int:
    """Return the samples of one step of the optimiser: of all processes and all accumulated batches together."""
    data: Any = required_datamodule(trainer, "RunRecorder")
    return int(data.batch_size * trainer.world_size * trainer.accumulate_grad_batches)


def supervision_of(trainer: Trainer) -> Supervision:
    """Return what a training is told about groups: by its method, by how it samples, or by how it selects."""
    method, data = cast(Any, trainer.lightning_module), attached_datamodule(trainer)
    keepers = [each for each in cast(Any, trainer).callbacks if isinstance(each, KeepCheckpoints)]
    told: list[Supervision] = [getattr(method, "supervision", "none")]
    if getattr(data, "sampling", None) == "group_balanced":
        told.append("group labels in training")
    if any(keeper.rule in RULES_OF_GROUPS or keeper.rule.startswith("acc_group/") for keeper in keepers):
        told.append("group labels in validation")
    return strongest(*told)


def _without(entries: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if key not in names}
