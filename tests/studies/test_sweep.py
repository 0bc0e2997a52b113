from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskexp.studies.sweep import Choice, Range, SweepError, read_sweep

COMMAND = ["${env}", "maskexp", "fit", "--config", "row.yaml", "${args}"]
BASE: dict[str, Any] = {"method": "random", "metric": {"name": "val/acc", "goal": "maximize"}, "command": COMMAND}


def write(folder: Path, parameters: Any, **more: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**BASE, "parameters": parameters, **more}))
    return path


@pytest.mark.parametrize(
    ("entry", "dimension"),
    [
        ({"values": [1, "a", None, [1, 2]]}, Choice((1, "a", None, [1, 2]))),
        ({"min": 1, "max": 4}, Range(1, 4, "int")),
        ({"distribution": "int_uniform", "min": 1, "max": 4}, Range(1, 4, "int")),
        ({"min": 1, "max": 4.5}, Range(1.0, 4.5)),
        ({"distribution": "uniform", "min": 0, "max": 1}, Range(0.0, 1.0)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}, Range(1e-4, 1e-2, log=True)),
        ({"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 1e-2}, Range(1e-4, 1e-2, log=True)),
        ({"distribution": "log_uniform", "min": -9, "max": -2}, Range(math.exp(-9), math.exp(-2), log=True)),
        ({"distribution": "inv_log_uniform", "min": 2, "max": 9}, Range(math.exp(-9), math.exp(-2), log=True)),
        (
            {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25},
            Range(0.0, 1.0, step=0.25, before_high=True),
        ),
        ({"distribution": "q_uniform", "min": 8, "max": 64, "q": 8}, Range(8, 64, "int", step=8, before_high=True)),
    ],
)
def test_what_wandb_and_optuna_both_have(tmp_path: Path, entry: dict[str, Any], dimension: Choice | Range) -> None:
    assert read_sweep(write(tmp_path, {"model.x": entry})).space == {"model.x": dimension}


HYPERBAND = {"type": "hyperband"}


@pytest.mark.parametrize(
    ("parameters", "more", "sentence"),
    [
        ({"a": {"distribution": "normal", "mu": 0}}, {}, "a has the distribution normal, which Optuna does not have"),
        ({"a": {"distribution": "q_log_uniform_values", "min": 1, "max": 2}}, {}, "q_log_uniform_values"),
        ({"a": {"distribution": "unifrm", "min": 1, "max": 2}}, {}, "no distribution 'unifrm'; did you mean 'uniform'"),
        ({"a": {"values": [1, 2], "probabilities": [0.1, 0.9]}}, {}, "has probabilities"),
        ({"a": {"distribution": "q_uniform", "min": 0.1, "max": 1.0, "q": 0.25}}, {}, "multiples of q = 0.25"),
        ({"a": {"min": 2, "max": 1}}, {}, "min and max with min below max"),
        ({"a": 3}, {}, r"a is 3; write \{value: 3\}"),
        ({"a": {"value": 3}}, {}, "nothing is searched"),
        ({"a": {"values": [1, 2]}}, {"job": "x"}, "job is not possible without wandb's server"),
        ({"a": {"values": [1, 2]}}, {"image_uri": "x"}, "image_uri is not possible without wandb's server"),
        ({"a": {"values": [1, 2]}}, {"method": "custom"}, "method is 'custom'; choose grid, random, bayes"),
        ({"a": {"values": [1, 2]}}, {"metric": {"name": "x", "target": 1}}, r"metric\.target is not possible"),
        ({"a": {"values": [1, 2]}}, {"metric": None}, "metric needs a name"),
        ({"a": {"values": [1, 2]}}, {"command": ["maskexp", "fit", "${args_no_boolean_flags}"]}, "than \\$\\{args\\}"),
        ({"a": {"values": [1, 2]}}, {"early_terminate": {"type": "median"}}, "has to be of type hyperband"),
        ({"a": {"values": [1, 2]}}, {"run_cap": 0}, "run_cap is 0"),
        ({"a": {"values": [1, 2]}}, {"run_cap": True}, "run_cap is True"),
        ({"a": {"values": [1, 2]}}, {"early_terminate": HYPERBAND | {"min_iter": 0}}, "min_iter is 0"),
        ({"a": {"values": [1, 2]}}, {"early_terminate": HYPERBAND | {"min_iter": 2.7}}, r"min_iter is 2\.7"),
        ({"a": {"values": [1, 2]}}, {"early_terminate": HYPERBAND | {"max_iter": "9", "s": 1}}, "max_iter is '9'"),
        (
            {"a": {"values": [1, 2]}},
            {"method": "grid", "metric": None, "early_terminate": HYPERBAND | {"min_iter": 1}},
            "compares trials by a metric",
        ),
    ],
)
def test_what_cannot_be_done_exactly_is_refused_by_name(
    tmp_path: Path, parameters: Any, more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SweepError, match=sentence):
        read_sweep(write(tmp_path, parameters, **more))


def test_the_command_of_a_trial(tmp_path: Path) -> None:
    nested = {
        "model": {"parameters": {"tau": {"min": 0.1, "max": 0.5}, "weights": {"value": None}}},
        "flag": {"values": [True, False]},
    }
    sweep = read_sweep(write(tmp_path, nested))
    assert sweep.argv({"model.tau": 0.25, "flag": False}) == [
        *(sys.executable, "-m", "maskexp", "fit", "--config", "row.yaml"),
        *("--model.weights=null", "--model.tau=0.25", "--flag=false"),
    ]


def test_a_grid_has_the_values_of_wandbs(tmp_path: Path) -> None:
    parameters = {
        "a": {"values": ["x", "y"]},
        "b": {"min": 1, "max": 2},
        "c": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.5},
        "d": {"value": 3},
    }
    points = list(read_sweep(write(tmp_path, parameters, method="grid", metric=None)).grid())
    assert [(p["a"], p["b"], p["c"]) for p in points] == [
        (a, b, c) for a in ("x", "y") for b in (1, 2) for c in (0.0, 0.5)
    ]
    endless = read_sweep(write(tmp_path, {"a": {"min": 0.0, "max": 1.0}}, method="grid"))
    with pytest.raises(SweepError, match="no finite number of values"):
        list(endless.grid())


def test_hyperband_becomes_successive_halving(tmp_path: Path) -> None:
    space = {"a": {"values": [1, 2]}}
    sweep = read_sweep(write(tmp_path, space, early_terminate={"type": "hyperband", "min_iter": 4, "eta": 2}))
    assert (sweep.min_iterations, sweep.eta) == (4, 2)
    sweep = read_sweep(write(tmp_path, space, early_terminate={"type": "hyperband", "max_iter": 27, "s": 2}))
    assert (sweep.min_iterations, sweep.eta) == (3, 3)
    assert any("successive halving" in note for note in sweep.notes)
