"""wandb's sweep files, read so that they can also run without its server; without torch and without Optuna.

A file that ``wandb sweep`` takes is taken here as it is. What Optuna cannot do exactly as wandb does it is refused by
name instead of being done approximately.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from maskexp.studies.study_file import is_number
from maskexp.suggestions import did_you_mean
from maskexp.yaml_files import read_yaml

__all__ = ["VALIDATIONS", "Choice", "Range", "Sweep", "SweepError", "read_sweep"]

KEYS = (
    *("program", "method", "metric", "parameters", "early_terminate", "command", "run_cap"),
    *("name", "description", "project", "entity"),
)
"""What a sweep file may say; the last four are for wandb's server only."""
VALIDATIONS = "MASKEXP_VALIDATIONS"
"""Names the file, one JSON object a line, in which a trial writes down what each validation measured."""
METHODS = ("grid", "random", "bayes")
WITHOUT_COUNTERPART = (
    *("q_log_uniform", "q_log_uniform_values", "normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta"),
    "categorical_w_probabilities",
)
DISTRIBUTIONS = (
    *("constant", "categorical", "int_uniform", "uniform", "q_uniform", "log_uniform", "log_uniform_values"),
    *("inv_log_uniform", "inv_log_uniform_values"),
)


class SweepError(ValueError):
    """A sweep file cannot be run without wandb's server, or at all."""


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A number between two ends, both included.

    Attributes:
        low: least value.
        high: greatest value.
        kind: ``int`` or ``float``.
        log: whether the logarithm is uniform.
        step: distance of the values, None if every number may be drawn.
        before_high: values of the grid leave ``high`` out, as wandb's ``q_uniform`` does.
    """

    low: float
    high: float
    kind: Literal["int", "float"] = "float"
    log: bool = False
    step: float | None = None
    before_high: bool = False


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        file: where it stands.
        method: ``grid``, ``random`` or ``bayes``.
        metric: key of ``metrics.json``, e.g. ``val/acc_worst_group``; None where the order does not matter.
        maximize: whether more is better.
        fixed: the same in all trials, by dotted key.
        space: what is searched, by dotted key.
        min_iterations: validations before a trial can be stopped early, None if none is.
        eta: a trial goes on if it is among the best 1/eta.
        run_cap: number of trials, None if the file does not say it.
        notes: what differs from a sweep at wandb.
    """

    file: Path
    method: Literal["grid", "random", "bayes"]
    metric: str | None
    maximize: bool
    fixed: dict[str, Any]
    space: dict[str, Choice | Range]
    command: tuple[str, ...]
    min_iterations: int | None = None
    eta: int = 3
    run_cap: int | None = None
    notes: tuple[str, ...] = ()

    def argv(self, values: Mapping[str, Any]) -> list[str]:
        """Return the command of a trial, as wandb's agent builds it, but without wandb and by this interpreter."""
        arguments = [f"--{key}={_written(value)}" for key, value in {**self.fixed, **values}.items()]
        built: list[str] = []
        for part in self.command:
            if part == "${args}":
                built += arguments
            elif part == "maskexp" or part.endswith("/maskexp"):
                built += [sys.executable, "-m", "maskexp"]
            elif part not in ("${env}", "${interpreter}", "${program}"):
                built.append(part)
        return built

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield all combinations, the last key changing fastest.

        Raises:
            SweepError: if a parameter has no finite number of values.
        """
        axes = []
        for key, dimension in self.space.items():
            if isinstance(dimension, Choice):
                axes.append(list(dimension.values))
            elif dimension.log or (dimension.kind == "float" and dimension.step is None):
                raise SweepError(f"{self.file}: {key} has no finite number of values, so there is no grid; give values")
            else:
                step = dimension.step or 1
                count = math.floor((dimension.high - dimension.low) / step + 1e-9)
                values = [dimension.low + i * step for i in range(count + (not dimension.before_high))]
                axes.append([int(v) for v in values] if dimension.kind == "int" else values)
        for combination in product(*axes):
            yield dict(zip(self.space, combination, strict=True))


def read_sweep(file: str | Path) -> Sweep:
    """Read a sweep file.

    Raises:
        SweepError: if it is no sweep, or says what cannot be done without wandb's server.
        YamlError: if it is no YAML.
    """
    path = Path(file)
    content = read_yaml(path)
    if not isinstance(content, dict) or "parameters" not in content:
        raise SweepError(f"{path} is no sweep: it has no parameters")
    for key in content:
        if key not in KEYS:
            raise SweepError(f"{path}: {key} is not possible without wandb's server; {did_you_mean(str(key), KEYS)}")
    method = content.get("method")
    if method not in METHODS:
        raise SweepError(f"{path}: method is {method!r}; choose {', '.join(METHODS)}")
    name, maximize = _metric(content.get("metric"), method, path)
    fixed: dict[str, Any] = {}
    space: dict[str, Choice | Range] = {}
    notes = []
    for key, entry in _parameters(content["parameters"], path):
        dimension = _dimension(key, entry, path)
        if isinstance(dimension, Choice) and len(dimension.values) == 1:
            fixed[key] = dimension.values[0]
        else:
            space[key] = dimension
            if isinstance(dimension, Range) and dimension.step is not None:
                notes.append(f"{key}: both ends are as likely as any value; wandb draws them half as often")
    if not space:
        raise SweepError(f"{path}: nothing is searched, every parameter has one value")
    if method == "bayes":
        notes.append("bayes is Optuna's TPE, not wandb's Gaussian process")
    minimum, eta, note = _early(content.get("early_terminate"), path)
    if minimum is not None and name is None:
        raise SweepError(f"{path}: early_terminate compares trials by a metric; add metric with its name and goal")
    command = content.get("command")
    if not isinstance(command, list) or "${args}" not in command or "fit" not in command:
        raise SweepError(
            f"{path}: command has to be a list such as [${{env}}, maskexp, fit, --config, FILE, ${{args}}]; other ways "
            "to write arguments than ${args} lose values that are false or null"
        )
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise SweepError(f"{path}: run_cap is {cap!r}; it has to be a number of trials")
    return Sweep(
        path, method, name, maximize, fixed, space, tuple(map(str, command)), minimum, eta, cap, (*notes, *note)
    )


def _metric(entry: Any, method: Any, path: Path) -> tuple[str | None, bool]:
    if entry is None and method == "grid":
        return None, True
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise SweepError(f"{path}: metric needs a name, such as val/acc_worst_group, and a goal")
    for key in entry:
        if key not in ("name", "goal"):
            raise SweepError(f"{path}: metric.{key} is not possible without wandb's server; leave name and goal")
    goal = entry.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise SweepError(f"{path}: metric.goal is {goal!r}; choose minimize or maximize")
    return entry["name"], goal == "maximize"


def _parameters(entries: Any, path: Path, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each parameter by its dotted key; nested ``parameters`` are levels of it."""
    if not isinstance(entries, dict):
        raise SweepError(f"{path}: parameters{'.' if prefix else ''}{prefix[:-1]} has to hold keys and their values")
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise SweepError(f"{path}: {prefix}{name} is {entry!r}; write {{value: {entry!r}}} or {{values: [...]}}")
        if set(entry) == {"parameters"}:
            yield from _parameters(entry["parameters"], path, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry


def _dimension(key: str, entry: Mapping[str, Any], path: Path) -> Choice | Range:
    where = f"{path}: {key}"
    if "value" in entry:
        return Choice((entry["value"],))
    if "values" in entry:
        if "probabilities" in entry:
            raise SweepError(f"{where} has probabilities, which Optuna does not have; leave them out")
        if not isinstance(entry["values"], list) or not entry["values"]:
            raise SweepError(f"{where}.values has to be a list")
        return Choice(tuple(entry["values"]))
    low: Any = entry.get("min")
    high: Any = entry.get("max")
    name = entry.get("distribution")
    if name in WITHOUT_COUNTERPART:
        raise SweepError(
            f"{where} has the distribution {name}, which Optuna does not have; choose {', '.join(DISTRIBUTIONS)}, or "
            "run the file by wandb sweep"
        )
    if name is not None and name not in DISTRIBUTIONS:
        raise SweepError(f"{where}: there is no distribution {name!r}; {did_you_mean(str(name), DISTRIBUTIONS)}")
    if not is_number(low) or not is_number(high) or not low < high:
        raise SweepError(f"{where} needs value, values, or min and max with min below max")
    whole = isinstance(low, int) and isinstance(high, int)
    name = name or ("int_uniform" if whole else "uniform")
    if name == "int_uniform":
        return Range(int(low), int(high), "int")
    if name == "uniform":
        return Range(float(low), float(high))
    if name == "q_uniform":
        step = entry.get("q", 1)
        if not is_number(step) or step <= 0 or any(abs(end / step - round(end / step)) > 1e-9 for end in (low, high)):
            raise SweepError(f"{where}: min and max have to be multiples of q = {step}; wandb rounds in its own way")
        kind: Literal["int", "float"] = "int" if whole and isinstance(step, int) else "float"
        return Range(low, high, kind, step=step, before_high=True)
    ends = (low, high)
    if name == "log_uniform":
        ends = (math.exp(low), math.exp(high))
    elif name == "inv_log_uniform":
        ends = (math.exp(-high), math.exp(-low))
    if ends[0] <= 0:
        raise SweepError(f"{where}: min is {low}, but has to be positive for {name}")
    return Range(float(ends[0]), float(ends[1]), log=True)


def _early(entry: Any, path: Path) -> tuple[int | None, int, list[str]]:
    """Return the least number of validations, eta and what there is to say about them."""
    if entry is None:
        return None, 3, []
    where = f"{path}: early_terminate"
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise SweepError(f"{where} has to be of type hyperband")
    for key in entry:
        if key not in ("type", "min_iter", "max_iter", "s", "eta"):
            raise SweepError(f"{where}.{key} is not possible without wandb's server")
    eta = entry.get("eta", 3)
    if not isinstance(eta, int) or eta < 2:
        raise SweepError(f"{where}.eta is {eta!r}; it has to be a whole number of at least 2")
    for key in ("min_iter", "max_iter", "s"):
        if key in entry and (type(entry[key]) is not int or entry[key] < 1):
            raise SweepError(f"{where}.{key} is {entry[key]!r}; it has to be a whole number of at least 1")
    note = [f"early_terminate is Optuna's successive halving, which stops a trial that is not among the best 1/{eta}"]
    if "min_iter" in entry:
        return entry["min_iter"], eta, note
    if "max_iter" in entry and "s" in entry:
        return max(1, round(entry["max_iter"] / eta ** entry["s"])), eta, note
    raise SweepError(f"{where} needs min_iter, or max_iter and s")


def _written(value: Any) -> str:
    """Return a value as the parser of a flag reads it; wandb's agent writes None for null."""
    if value is None:
        return "null"
    return value if isinstance(value, str) else json.dumps(value)
