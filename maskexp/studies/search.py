"""A sweep without wandb's server: Optuna proposes, ``maskexp fit`` runs each trial in a directory of its own.

::

    DIR/
      journal.log      Optuna's record of all trials, shared by all processes that search
      trial-0007/      the run of one trial, as any other run
        validations.jsonl   what each of its validations measured
      trials.csv, importance.png, parallel_coordinates.png   at the end

A trial belongs to the process that holds its lock, which ``maskexp fit`` inherits. A trial that is said to run while
nobody holds its lock was interrupted: it goes on from its last checkpoint.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from maskexp.files import atomic_write
from maskexp.process import Interruption
from maskexp.studies.cells import run_cell
from maskexp.studies.locks import is_held
from maskexp.studies.pool import child_environment
from maskexp.studies.sweep import VALIDATIONS, Choice, Range, Sweep, SweepError

__all__ = ["Search"]

POLL = 1.0  # seconds between two looks at a running trial
STUDY = "sweep"

Say = Callable[[str], None]


class Search:
    """Trials of a sweep in a folder.

    Args:
        sweep: what is searched.
        folder: of the trials; several processes may search in one.
        trials: how many; all of them for a grid.
        seed: of what is proposed: a function of the seed, the number of a trial and the results before it.
        say: tells the user something.
    """

    def __init__(self, sweep: Sweep, folder: Path, trials: int, seed: int, say: Say) -> None:
        self.sweep, self.folder, self.trials, self.seed, self.say = sweep, folder, trials, seed, say
        self.points = list(sweep.grid()) if sweep.method == "grid" else None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            study_name=STUDY,
            storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
            direction="maximize" if sweep.maximize else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner()
            if sweep.min_iterations is None
            else optuna.pruners.SuccessiveHalvingPruner(sweep.min_iterations, sweep.eta, 0),
        )
        self._claim()

    def run(self) -> None:
        """Run trials until all are done, or are run by other processes."""
        while (trial := self._next()) is not None:
            self._run(trial)

    def running_elsewhere(self) -> int:
        """Return how many trials other processes still run."""
        return len(self._trials(TrialState.RUNNING))

    # --- proposals -----------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Refuse a folder that holds the trials of another sweep."""
        sweep = self.sweep
        wanted = {
            "method": sweep.method,
            "space": {key: repr(dimension) for key, dimension in self._space()},
            "goal": f"{'maximize' if sweep.maximize else 'minimize'} {sweep.metric}",
            "fixed": {key: repr(value) for key, value in sweep.fixed.items()},
            "command": list(sweep.command),
            "early_terminate": [sweep.min_iterations, sweep.eta],
        }
        known = self.study.user_attrs.get("sweep")
        if known is None:
            self.study.set_user_attr("sweep", wanted)
        elif known != wanted:
            raise SweepError(
                f"{self.folder} holds the trials of another sweep than {self.sweep.file}; choose another --runs"
            )

    def _space(self) -> list[tuple[str, Choice | Range]]:
        return list(self.sweep.space.items())

    def _next(self) -> FrozenTrial | None:
        """Return a trial that was interrupted, or a new one; None if there is nothing to do."""
        with FileLock(self.folder / ".proposals.lock"):
            for trial in self._trials(TrialState.RUNNING):
                if not is_held(self._folder(trial.number)):
                    return trial
            number = len(self.study.get_trials(deepcopy=False))
            if number >= self.trials:
                return None
            self.study.sampler = self._sampler(number)
            if self.points is not None and not self._trials(TrialState.WAITING):
                self.study.enqueue_trial({key: _stored(value) for key, value in self.points[number].items()})
            asked = self.study.ask({key: _distribution(dimension) for key, dimension in self._space()})
            # Held by nobody until it starts: its folder says that it is about to.
            self._folder(asked.number).mkdir(exist_ok=True)
            return self.study.get_trials(deepcopy=False)[asked.number]

    def _sampler(self, number: int) -> BaseSampler:
        seed = self.seed * 100_003 + number
        if self.sweep.method == "bayes":
            return TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return RandomSampler(seed=seed)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _folder(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}"

    # --- a trial -------------------------------------------------------------------------------------------------

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial was given, by dotted key."""
        return {key: _read(trial.params[key], dimension) for key, dimension in self._space()}

    def command(self, trial: FrozenTrial) -> list[str]:
        """Return the command of a trial, without its directory."""
        return self.sweep.argv(self.values(trial))

    def _run(self, trial: FrozenTrial) -> None:
        folder = self._folder(trial.number)
        log = folder / "validations.jsonl"
        stop = threading.Event()
        pruned = threading.Event()
        processes: list[subprocess.Popen[bytes]] = []

        def started(process: subprocess.Popen[bytes]) -> None:
            processes.append(process)
            if self.sweep.min_iterations is not None:
                watcher = threading.Thread(target=self._watch, args=(trial, log, process, stop, pruned), daemon=True)
                watcher.start()

        def command(_: Path) -> list[str]:
            more = ["--run_dir", str(folder), "--ckpt_path", "last", "--trainer.enable_progress_bar=false"]
            return [*self.command(trial), *more]

        self.say(f"trial {trial.number}: {_shown(self.values(trial))}")
        environment = child_environment(1, None) | {VALIDATIONS: str(log)}
        try:
            attempt = run_cell(folder, command, environment, started)
        except Interruption as interruption:
            for process in processes:
                process.terminate()
                process.wait()
            interruption.advice = "the trial goes on when the same command is started again"
            raise
        finally:
            stop.set()
        if attempt.result == "elsewhere" or trial.number not in {t.number for t in self._trials(TrialState.RUNNING)}:
            return
        if attempt.result == "done":
            self._finish(trial, folder)
        elif pruned.is_set():
            self.study.tell(trial.number, state=TrialState.PRUNED)
            self.say(f"trial {trial.number}: stopped early")
        elif attempt.result == "failed":
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.say(f"trial {trial.number} failed: {attempt.detail} (see {folder / 'log.txt'})")
        else:
            raise Interruption(attempt.exit_code - 128 if attempt.exit_code > 128 else 15)

    def _finish(self, trial: FrozenTrial, folder: Path) -> None:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        name = self.sweep.metric
        value = 0.0 if name is None else metrics.get(name)
        if value is None:
            known = ", ".join(key for key in metrics if "/n_group/" not in key)
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.say(f"trial {trial.number} failed: metrics.json has no number for {name}; it has {known}")
            return
        self.study.tell(trial.number, float(value))
        self.say(f"trial {trial.number}: {name} = {value:.4f}")

    def _watch(
        self,
        trial: FrozenTrial,
        log: Path,
        process: subprocess.Popen[bytes],
        stop: threading.Event,
        pruned: threading.Event,
    ) -> None:
        """Report each validation of a running trial, and ask it to leave where the pruner says so."""
        live = Trial(self.study, trial._trial_id)
        seen = 0
        while not stop.wait(POLL):
            for step, metrics in enumerate(read_validations(log)[seen:], start=seen + 1):
                seen = step
                value = metrics.get(str(self.sweep.metric))
                if value is None or not math.isfinite(value):
                    continue
                with suppress(RuntimeError):  # the trial was told its end in the meantime
                    live.report(value, step)
                    if live.should_prune() and process.poll() is None:
                        pruned.set()
                        process.terminate()
                        return

    # --- the end -------------------------------------------------------------------------------------------------

    def table(self) -> list[list[str]]:
        """Return header and rows: trial, state, value and parameters, the best first."""
        keys = list(self.sweep.space)
        sign = -1 if self.sweep.maximize else 1

        def order(trial: FrozenTrial) -> tuple[bool, float, int]:
            value = trial.value if trial.state == TrialState.COMPLETE and trial.value is not None else None
            return value is None, 0.0 if value is None else sign * value, trial.number

        rows = [["trial", "state", self.sweep.metric or "value", *keys]]
        for trial in sorted(self.study.get_trials(deepcopy=False), key=order):
            value = "" if trial.state != TrialState.COMPLETE or trial.value is None else f"{trial.value:.4f}"
            values = self.values(trial) if trial.params else {}
            shown = [_short(values[key]) if key in values else "" for key in keys]
            rows.append([str(trial.number), trial.state.name.lower(), value, *shown])
        return rows

    def write_report(self) -> list[Path]:
        """Write the table, and the plots where two trials at least have ended with different values."""
        written = [self.folder / "trials.csv"]
        with atomic_write(written[0]) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self.table())
        complete = self._trials(TrialState.COMPLETE)
        if self.sweep.metric is None or len({trial.value for trial in complete}) < 2:
            return written
        from optuna.importance import PedAnovaImportanceEvaluator
        from optuna.visualization import matplotlib as plots

        title = self.sweep.metric
        evaluator = PedAnovaImportanceEvaluator(evaluate_on_local=False)
        drawn: dict[str, Callable[[], Any]] = {
            "importance.png": lambda: plots.plot_param_importances(
                self.study, evaluator=evaluator, target=_value, target_name=title
            ),
            "parallel_coordinates.png": lambda: plots.plot_parallel_coordinate(
                self.study, target=_value, target_name=title
            ),
        }
        for name, draw in drawn.items():
            with warnings.catch_warnings():  # that these plots are experimental, and what their evaluator does
                warnings.simplefilter("ignore")
                axes = draw()
            for lines in axes.collections:
                lines.set_cmap("viridis")  # its ends are both visible, unlike those of the default
            figure = axes.get_figure()
            figure.set_size_inches(max(7.0, 1.9 * (len(self.sweep.space) + 1)), 4.6)
            with atomic_write(self.folder / name) as partial:
                figure.savefig(partial, dpi=110, bbox_inches="tight")
            written.append(self.folder / name)
        return written

    def best(self) -> FrozenTrial | None:
        """Return the best of the trials that have ended, None if none has."""
        return self.study.best_trial if self.sweep.metric and self._trials(TrialState.COMPLETE) else None


def read_validations(log: Path) -> list[Mapping[str, Any]]:
    """Return what a trial's validations measured so far, in order; a line that is being written is left out."""
    if not log.is_file():
        return []
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    by_epoch = {entry["step"]: entry["metrics"] for entry in map(json.loads, lines)}
    return [by_epoch[step] for step in sorted(by_epoch)]


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value


def _distribution(dimension: Choice | Range) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution([_stored(value) for value in dimension.values])
    if dimension.kind == "int":
        return IntDistribution(int(dimension.low), int(dimension.high), step=int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _stored(value: Any) -> Any:
    """Return a value as Optuna keeps it: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _read(value: Any, dimension: Choice | Range) -> Any:
    if isinstance(dimension, Choice):
        return next(each for each in dimension.values if _stored(each) == value and type(_stored(each)) is type(value))
    return value


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
