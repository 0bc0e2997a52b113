"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our rules about layers, checkpoints and runs."""

from __future__ import annotations

import json
import os
import re
import shlex
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from maskexp.attribution import report_progress
from maskexp.callbacks import (
    Evaluator,
    Gallery,
    KeepCheckpoints,
    LeaveWhenAsked,
    PredictionWriter,
    SeedSteps,
    WholeFileCheckpointIO,
)
from maskexp.callbacks.validations import ValidationLog
from maskexp.callbacks.wandb_log import log_selected, mark_preempting, sync_command, wandb_runs
from maskexp.cli.allocation import check_allocation
from maskexp.cli.arguments import (
    in_the_parsers_words,
    last_value,
    nested_nulls,
    refuse_environment,
    require_plain_values,
    take_values,
)
from maskexp.cli.checkpoint import checkpoint_facts, checkpoint_layer, is_selected, locate, run_directory
from maskexp.cli.config import Configuration, differences, read_configuration, short_name
from maskexp.cli.errors import CommandError
from maskexp.cli.layers import chosen_class, classes_first, stack
from maskexp.cli.lightning_adapter import AdaptedCLI, out_of_time, restoring_only, without_finders
from maskexp.cli.loggers import named_loggers, settle_loggers, with_csv_log
from maskexp.cli.matrix import row_configuration
from maskexp.cli.parser_errors import explain_parser_error
from maskexp.cli.pretraining import train_first
from maskexp.cli.print_config import asks_for_configuration, with_sources_printed
from maskexp.cli.run_settings import add_run_settings, check_changes, check_run_settings, choices
from maskexp.cli.spellings import completed_classes, plain_spellings, with_whole_numbers
from maskexp.cli.terminal import ProgressNotes, note, silence
from maskexp.cli.trust import trusted
from maskexp.data import ImageDataModule
from maskexp.evaluation import Chart, Evaluation, Fidelity, Localization
from maskexp.files import DiskFullError, names_full_disk
from maskexp.methods import Method
from maskexp.process import (
    RESTART,
    Interruption,
    defer_interruption,
    first_process,
    interruptible,
    keep_freed_memory,
)
from maskexp.results import RunDirectory, RunRecorder, print_summary, write_charts, write_table
from maskexp.studies.study_file import is_study
from maskexp.studies.sweep import VALIDATIONS

__all__ = ["TrainingCLI", "run"]

COMMAND_ONLY_KEYS = ("config", "ckpt_path", "row", "run_dir")
"""Keys that belong to one command and not to the run that config.yaml describes."""

METRIC_NEUTRAL_KEYS = (
    "model.weights",
    "data.num_workers",
    "data.batch_size",
    "data.eval_batch_size",
    "data.predict_split",
)
"""Keys that change no number of an evaluation."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run one training verb; the layers below the explicit flags are merged here."""
    interruptible()
    silence()
    refuse_environment(verb, os.environ)
    require_plain_values(args)
    paths, flags = take_values(in_the_parsers_words(args), "--config", "-c")
    rows, flags = take_values(flags, "--row")
    configuration = row_configuration(paths, rows[-1]) if rows else read_configuration(paths)
    if is_study(configuration.values):
        raise CommandError(f"{', '.join(paths)} is a study; fit one row by --row NAME, or all by maskexp matrix")
    run_dir = last_value(flags, "--run_dir") or configuration.values.pop("run_dir", None)
    ckpt_path = last_value(flags, "--ckpt_path") or configuration.values.pop("ckpt_path", None)
    _, flags = take_values(flags, "--run_dir", "--ckpt_path")
    flags = classes_first(nested_nulls(plain_spellings(flags)))
    if wants_help := any(flag in ("-h", "--help") or flag.endswith(".help") for flag in flags):
        home, checkpoint = None, None
    else:
        home, checkpoint = locate(verb, run_dir, ckpt_path)
    origin, below = checkpoint, {}
    if checkpoint is not None:
        below = checkpoint_layer(verb, checkpoint)
    elif home is not None and ckpt_path:
        note(f"{home} has no checkpoint yet: starting afresh{' by its config.yaml' if home.holds_run else ''}")
        origin, below = home.config_file, home.read_config() if home.holds_run else {}
    if origin is not None:
        below = trusted(below, configuration, flags, origin)
    configuration = stack(below, configuration, flags, str(origin))
    if not wants_help and "data" not in configuration.values and chosen_class(flags, "data") is None:
        configuration.merge({"data": {"class_path": "SyntheticBirds"}}, "the default")
    if not wants_help:
        completed_classes(configuration, flags)
    flags = named_loggers(configuration, flags)
    printed = with_sources_printed(configuration.origins, flags) if asks_for_configuration(flags) else nullcontext()
    with printed:
        TrainingCLI(verb, configuration, flags, home, checkpoint, below, ["maskexp", verb, *args])
    return 0


class TrainingCLI(AdaptedCLI):
    """One verb of LightningCLI.

    What differs from Lightning: configurations are layered before the parser sees them; an explicit flag or
    configuration beats the checkpoint's hyper-parameters; a run is one directory; evaluation needs a checkpoint and
    never repeats a sample; a training ends with the numbers of its selected checkpoint.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        configuration: everything below the flags.
        flags: the arguments, without ``--config``, ``--run_dir`` and ``--ckpt_path``.
        home: directory of the run; chosen here if None.
        checkpoint: file to start from, if any.
        below: what the checkpoint says about the configuration.
        command: program and arguments, for the record.
    """

    def __init__(
        self,
        verb: str,
        configuration: Configuration,
        flags: Sequence[str],
        home: RunDirectory | None,
        checkpoint: Path | None,
        below: Mapping[str, Any],
        command: Sequence[str],
    ) -> None:
        self.verb = verb
        self.configuration = configuration
        self.home = home
        self.checkpoint = checkpoint
        self.below = below
        self.command = command
        self.complete = False
        choices()
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            model_class=Method,
            datamodule_class=ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"max_epochs": 30, "log_every_n_steps": 10, "use_distributed_sampler": False},
            parser_kwargs={"prog": "maskexp", **strict, verb: dict(strict)},
            args=[verb, f"--config={json.dumps(configuration.values)}", *flags],
        )

    # --- parsing -------------------------------------------------------------------------------------------------

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Build the parser of the one verb that runs; the others would only cost time."""
        return {self.verb: LightningCLI.subcommands()[self.verb] | {"verbose", "weights_only", "return_predictions"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a run needs beyond trainer, model and data; every verb accepts the same configuration."""
        add_run_settings(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; LightningCLI warns when a program passes arguments while ``sys.argv`` has some."""
        try:
            self.config = parser.parse_args(cast(list[str], args))
        except ArgumentError as error:
            if (again := with_whole_numbers(cast(list[str], args), str(error))) is not None:
                self.parse_arguments(parser, again)
                return
            keys = self.known_keys(self.verb)
            sentence = explain_parser_error(str(error), keys, choices(), self.configuration)
            raise CommandError(sentence) from error
        check_run_settings(self.settings)

    # --- set-up --------------------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Say what differs from the checkpoint, and find the run's directory."""
        check_allocation(self.settings.trainer.num_nodes, self.settings.trainer.devices)
        self.write_out_config()
        changed = differences({k: self.config_dump.get(k) for k in self.below}, self.below)
        check_changes(self.verb, self.checkpoint, changed)
        selected = (
            self.checkpoint is not None and is_selected(self.checkpoint) and changed.keys() <= set(METRIC_NEUTRAL_KEYS)
        )
        if self.home is None and self.checkpoint and selected:
            self.home = RunDirectory.of_checkpoint(self.checkpoint)
        elif self.verb in ("validate", "test") and self.home is not None and self.home.holds_run and not selected:
            note(f"not the numbers of the checkpoint that {self.home} selected: they get a directory of their own")
            self.home = None
        if self.home is None:
            method, data = (short_name(self.settings[key].class_path) for key in ("model", "data"))
            self.home = run_directory(method, data)
        self.directory = self.home
        self._makes_directory = first_process() and not self.home.path.exists()
        settle_loggers(self.settings.trainer.logger, self.directory)
        config = {key: value for key, value in self.config_dump.items() if key not in COMMAND_ONLY_KEYS}
        seed = int(self.settings.seed_everything)
        self.recorder = RunRecorder(self.directory, config, self.command, seed)
        self.keeper = KeepCheckpoints(str(self.directory.checkpoints), **self.settings.selection.as_dict())

    def instantiate_classes(self) -> None:
        """Instantiate; the parser buries what a constructor says in a report about its own types."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            said: BaseException = error
            while said.__cause__ is not None and str(said).startswith(("Does not validate", "Problem with given")):
                said = said.__cause__
            if isinstance(said, ModuleNotFoundError):
                name = short_name((re.findall(r"given class_path '([\w.]+)'", str(error)) or ["what was chosen"])[-1])
                raise CommandError(f"{name} needs a package that is not here: {said}") from error
            raise said from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with our callbacks and a CSV log in the run's directory."""
        settings = dict(self.instantiated("trainer"), **kwargs)
        for key, given in (self.configuration.values.get("trainer") or {}).items():
            # typing caches the order of equal unions: where Union[float, int] was asked for before, the parser turns
            # one batch, 1, into all batches, 1.0.
            if key.startswith("limit_") and type(given) is int and settings[key] == given:
                settings[key] = given
        plugins = settings.get("plugins") or []
        if self.verb == "fit" and self.checkpoint is not None:
            settings["callbacks"] = without_finders(settings["callbacks"])
        settings["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeFileCheckpointIO()]
        settings["logger"] = with_csv_log(settings["logger"], self.directory)
        settings["default_root_dir"] = settings["default_root_dir"] or str(self.directory)
        trainer = self.make_trainer(settings, self._callbacks())
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        return trainer

    def _callbacks(self) -> list[Callback]:
        # First: what cannot be evaluated is refused before anything is recorded.
        self.evaluator = Evaluator(self._evaluations())
        callbacks: list[Callback] = [self.evaluator, self.recorder, self.keeper]
        if self.verb == "predict":
            save = self.settings.save_attributions
            callbacks.append(PredictionWriter(str(self.directory.path), save_attributions=save))
        else:
            callbacks.append(Gallery(str(self.directory.gallery), **self.settings.gallery.as_dict()))
        if path := os.environ.get(VALIDATIONS):
            callbacks.append(ValidationLog(path))
        # Last: what the others draw is before the seed of the next step.
        leave = LeaveWhenAsked(self.keeper, self.settings.checkpoint_every)
        return [*callbacks, SeedSteps(self.recorder.seed), leave]

    def _evaluations(self) -> list[Evaluation]:
        """Return what is asked beyond the standard metrics."""
        evaluations: list[Evaluation] = self.instantiated("evaluations")
        if not self.settings.maps or evaluations:
            return evaluations
        maps = list(self.settings.maps)
        known = cast(ImageDataModule, self.datamodule).spec.foreground != "none"
        return [*([Localization(maps=maps)] if known else []), Fidelity(maps=maps)]

    # --- running -------------------------------------------------------------------------------------------------

    def run_verb(self, verb: str) -> None:
        """Run the verb; a start that fails at once leaves no directory behind."""
        try:
            self._run(verb)
        except BaseException as error:
            if self.verb == "fit" and self._makes_directory:
                # What fails in its first step was wrong from the start.
                begun = isinstance(error, Interruption) or self.trainer.global_step > 0
                self.directory.discard_unless_begun(begun)
            self.directory.discard_if_empty()
            if isinstance(error, Interruption):
                error.advice = self._how_to_go_on()
                mark_preempting(wandb_runs(self.trainer.loggers) if error.code == RESTART else ())
            if isinstance(error, OSError) and names_full_disk(error) and not error.filename:  # of a logger
                raise DiskFullError(self.directory.path) from error
            raise

    def _how_to_go_on(self) -> str:
        flags = f"--run_dir {shlex.quote(str(self.directory))} --ckpt_path last"
        if self.verb != "fit" or not self.directory.holds_run:
            return "start the same command again"
        if self.directory.checkpoint("last") is None:
            return f"there is no checkpoint yet: start the same command again, with {flags}"
        return f"go on with: maskexp fit {flags}"

    def _run(self, subcommand: str) -> None:
        """Run the verb and write down what it measured."""
        start = None if self.checkpoint is None else str(self.checkpoint)
        if subcommand == "fit":
            self._require_test_split()
            if start is None:
                self._train_first()
            # Some callbacks, such as Lightning's StochasticWeightAveraging, need the network when they are set up.
            self.model.build(cast(ImageDataModule, self.datamodule).spec, pretrained=start is None)
            with restoring_only(self.trainer, start):
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=start, weights_only=True)
            if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
                self.directory.discard_if_empty()
            else:
                self._conclude()
        elif subcommand == "predict":
            self.trainer.predict(
                self.model, datamodule=self.datamodule, return_predictions=False, ckpt_path=start, weights_only=True
            )
            self.recorder.record_evaluation(self.trainer, subcommand, self._facts(self.checkpoint))
            note(f"wrote {self.directory.path / 'predictions.csv'}")
        else:
            stages = ("validate", "test") if subcommand == "test" and self.evaluator.needs_validation else (subcommand,)
            self._summarize(self._measure(stages, self.checkpoint), self.checkpoint)

    def _train_first(self) -> None:
        """Provide what the method needs trained first; what this draws does not change what the run draws."""
        data = cast(ImageDataModule, self.datamodule)
        self.model.trainer = self.trainer  # a method may ask how many epochs there will be
        self.model.check_training(data)
        data.check_labels_for(self.model)
        need = self.model.pretraining(data.spec)
        if need is None:
            self._refuse_idle_epochs()
            return
        checkpoint = train_first(need, self.recorder.config, data.digest, self.directory, self._start_another)
        seed_everything(self.recorder.seed, workers=True, verbose=False)
        setattr(self.model, need.checkpoint_argument, str(checkpoint))
        self.model.hparams[need.checkpoint_argument] = str(checkpoint)

    def _refuse_idle_epochs(self) -> None:
        """Refuse epochs of a training that a given checkpoint has had already."""
        for name, value in self.model.hparams.items():
            epochs = name.replace("_checkpoint", "_epochs")
            if name != epochs and value is not None and self.model.hparams.get(epochs) is not None:
                raise CommandError(
                    f"--model.{name} is trained already, so that nothing obeys --model.{epochs}; omit one of them"
                )

    def _start_another(self, configuration: Configuration, run: RunDirectory, checkpoint: Path | None) -> bool:
        """Train by another configuration, as a run of its own in this very process; return whether it is complete."""
        return TrainingCLI("fit", configuration, [], run, checkpoint, {}, self.command).complete

    def _require_test_split(self) -> None:
        """Complain before the training, rather than after it, that there is nothing to test on."""
        data = cast(ImageDataModule, self.datamodule)
        splits = data.table.splits
        if self.settings.test_after_fit and data.test_split not in splits:
            raise CommandError(
                f"the data has no split {data.test_split!r} to test on, only {', '.join(splits)}; choose one by "
                "--data.test_split, or train without a test at the end by --test_after_fit false"
            )

    def _conclude(self) -> None:
        """Measure the selected checkpoint of a training that ended; it is done if it came to its planned end."""
        self.complete = not out_of_time(self.trainer)  # evaluations change the trainer's state
        if not self.complete:
            note(
                f"trainer.max_time ended the training in epoch {self.trainer.current_epoch}, so that it is not marked "
                f"as done; go on with --run_dir {self.directory} --ckpt_path last and another --trainer.max_time"
            )
        if not self.keeper.best.is_file():
            last = f"; {self.keeper.last} holds the final weights" if self.keeper.last.is_file() else ""
            if self.checkpoint is not None and not self.keeper.last.is_file():
                raise CommandError(
                    f"{self.checkpoint} has been trained for {self.trainer.current_epoch} epochs already, so that "
                    f"nothing was left to train until trainer.max_epochs {self.trainer.max_epochs}; give a larger one, "
                    "or measure it by maskexp test"
                )
            raise CommandError(
                f"no epoch was validated, so no checkpoint was selected by {self.keeper.rule}{last}; train longer, "
                "validate more often, or select by --selection.metric last"
            )
        stages = ("validate", "test") if self.settings.test_after_fit else ("validate",)
        self._summarize(self._measure(stages, self.keeper.best), self.keeper.best)
        defer_interruption()
        if self.complete:
            self.recorder.finish()

    def _measure(self, stages: Sequence[str], checkpoint: Path | None) -> dict[str, float]:
        """Validate or test a checkpoint and return its metrics; empty on all but the first rank."""
        metrics: dict[str, float] = {}
        for stage in stages:
            measure = getattr(self.trainer, stage)
            with report_progress(ProgressNotes()):
                measure(
                    self.model, datamodule=self.datamodule, ckpt_path=str(checkpoint), verbose=False, weights_only=True
                )
            metrics |= self.recorder.record_measurement(self.trainer, stage, self._facts(checkpoint)) or {}
        self._draw(self.evaluator.charts)
        return metrics

    @rank_zero_only
    def _draw(self, charts: Sequence[Chart]) -> None:
        for image in write_charts(charts, self.directory.evaluations):
            note(f"wrote {image}")

    def _facts(self, checkpoint: Path | None) -> dict[str, Any]:
        return {} if checkpoint is None else checkpoint_facts(checkpoint)

    @rank_zero_only
    def _summarize(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        data = cast(Any, self.datamodule)
        title = f"{data.spec.name} ({data.spec.variant})"
        if self.evaluator.evaluations:
            write_table(metrics, self.directory.evaluations / "table.csv")
        facts = self._facts(checkpoint)
        batch = self.directory.read_env().get("global_batch_size")
        print_summary(metrics, facts, title, data.notes, str(self.directory), global_batch_size=batch)
        runs = wandb_runs(self.trainer.loggers)
        log_selected(runs, metrics, facts, batch)
        if command := sync_command(runs):
            note(f"written offline; upload it by: {command}")
