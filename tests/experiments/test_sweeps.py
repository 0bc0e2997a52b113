"""Shipped sweep files and trainer layers: through wandb's own argument building, its agent, and our parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils as agent_arguments

import maskexp.methods
from maskexp.cli.main import main
from maskexp.studies.sweep import Choice, Sweep, read_sweep
from tests.cli.conftest import SMALL
from tests.wandb_file import read_offline_run

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SWEEPS = sorted(path.stem for path in (EXPERIMENTS / "sweeps").glob("*.yaml"))
BASE = ["fit", "--model=AIM", *SMALL]


def agent_command(sweep: dict[str, Any], values: dict[str, Any], folder: Path) -> list[str]:
    """The command of a run as ``wandb agent`` builds it, without ``/usr/bin/env``."""
    command = {"args": {key: {"value": value} for key, value in values.items()}, "program": sweep.get("program")}
    template = agent_arguments.create_sweep_command(list(sweep["command"]))
    variables: dict[str, Any] = agent_arguments.create_sweep_command_args(command)
    file = folder / "arguments.json"
    file.write_text(variables["args_json"][0])
    variables |= {"env": [], "interpreter": [], "program": [sweep.get("program")], "args_json_file": [str(file)]}
    built: list[str] = []
    for part in map(str, template):
        built += (variables.get(part[2:-1]) or []) if part.startswith("${") and part.endswith("}") else [part]
    return built


def composed(args: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    code = main([*args, "--print_config"])
    output = capsys.readouterr()
    assert code == 0, output.err
    configuration: dict[str, Any] = yaml.safe_load(output.out)
    return configuration


def found(configuration: dict[str, Any], key: str) -> Any:
    section, *names = [name for name in key.split(".") if name != "init_args"]
    value: Any = configuration[section]
    for name in names:
        value = value["init_args"][name] if isinstance(value, dict) and "init_args" in value else value[name]
    return value


def sample(sweep: Sweep) -> dict[str, Any]:
    """A value of each parameter, the constant ones included."""
    drawn = {key: d.values[-1] if isinstance(d, Choice) else (d.low + d.high) / 2 for key, d in sweep.space.items()}
    return {**sweep.fixed, **drawn}


@pytest.mark.parametrize(
    "path", sorted(EXPERIMENTS.rglob("sweeps/*.yaml")), ids=lambda path: f"{path.parts[-3]}/{path.stem}"
)
def test_every_key_of_a_shipped_sweep_is_one_that_its_method_has(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(EXPERIMENTS.parent)
    sweep, content = read_sweep(path), yaml.safe_load(path.read_text())
    values = sample(sweep)
    argv = agent_command(content, values, tmp_path)
    assert argv[0] == "maskexp"
    configuration = composed(argv[1:], capsys)
    for key, value in values.items():
        if key == "trainer.logger":
            assert found(configuration, key)["class_path"].endswith("WandbLogger")
        else:
            assert found(configuration, key) == pytest.approx(value)
    assert configuration["model"]["class_path"].lower().endswith(f".{path.stem.replace('_', '')}")


def test_there_is_a_sweep_for_every_method_that_is_trained() -> None:
    masks = {"aim", "bottom_up", "cad", "comet", "dynconv", "bcos", "realx", "rbaem", "rt_saliency", "diet"}
    assert set(SWEEPS) == masks | {"erm", "group_dro", "jtt", "dfr", "mask_tune"}


@pytest.mark.parametrize("name", SWEEPS)
def test_both_ends_of_every_range_are_values_that_the_method_takes(name: str) -> None:
    sweep = read_sweep(EXPERIMENTS / "sweeps" / f"{name}.yaml")
    methods = {each.lower(): getattr(maskexp.methods, each) for each in maskexp.methods.__all__}
    method = methods[name.replace("_", "")]
    ends = {key: d.values if isinstance(d, Choice) else (d.low, d.high) for key, d in sweep.space.items()}
    for key, values in ends.items():
        for value in values:
            assert method(**{key.removeprefix("model."): value}).hparams[key.removeprefix("model.")] == value


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"model.tau": 0.25}, "model.tau", 0.25),
        ({"model.init_args.tau": 1e-05}, "model.tau", 1e-05),
        ({"model.milestones": [10, 20]}, "model.milestones", [10, 20]),
        ({"trainer.deterministic": True}, "trainer.deterministic", True),
        ({"model.weights": None}, "model.weights", None),
        ({"trainer.gradient_clip_val": None}, "trainer.gradient_clip_val", None),
        ({"data.batch_size": 16.0}, "data.batch_size", 16),
        ({"trainer.max_epochs": 3.0}, "trainer.max_epochs", 3),
        ({"model": {"tau": 0.3}}, "model.tau", 0.3),
        ({"data": {"batch_size": 4}}, "data.batch_size", 4),
        ({"trainer": {"max_epochs": 4}}, "trainer.max_epochs", 4),
        ({"model.lr": 0.125, "model": "ERM"}, "model.lr", 0.125),
    ],
)
@pytest.mark.parametrize("template", [["${args}"], ["--config", "${args_json_file}"]], ids=["flags", "file"])
def test_what_the_agent_writes_arrives(
    values: dict[str, Any],
    key: str,
    expected: Any,
    template: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    sweep = {"program": "maskexp", "command": ["maskexp", *BASE, *template]}
    if template[0] == "--config":
        given = {key, *(name for name, value in values.items() if isinstance(value, str))}
        hidden = [flag for flag in BASE if flag.partition("=")[0].removeprefix("--") not in given]
        sweep["command"] = ["maskexp", *hidden, *template]
    argv = agent_command(sweep, values, tmp_path)
    value = found(composed(argv[1:], capsys), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("macro", ["${args_no_hyphens}", "${args_no_boolean_flags}"])
def test_spellings_that_lose_values_are_refused_in_a_sentence(
    macro: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sweep = {"program": "maskexp", "command": ["maskexp", *BASE, macro]}
    argv = agent_command(sweep, {"model.tau": 0.25, "model.frozen_backbone": True}, tmp_path)
    assert main([*argv[1:], "--print_config"]) == 2
    assert "${args}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", {"accelerator": "cpu", "devices": 1}),
        ("single_gpu", {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"}),
        ("ddp", {"accelerator": "gpu", "devices": -1, "strategy": "ddp", "sync_batchnorm": True}),
        ("slurm", {"strategy": "ddp", "num_nodes": 1, "enable_progress_bar": False, "precision": "bf16-mixed"}),
    ],
)
def test_trainer_layers(name: str, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    layers = [f"--config={EXPERIMENTS / row}" for row in ("quickstart.yaml", f"trainer/{name}.yaml")]
    trainer = composed(["fit", *layers], capsys)["trainer"]
    assert {key: trainer[key] for key in expected} == expected


AGENT = """
import json, multiprocessing, os, sys, yaml
import wandb
from wandb import wandb_agent
from wandb.apis.public import sweeps

sweep, suggestions = yaml.safe_load(open(sys.argv[1])), json.loads(sys.argv[2])
todo = [
    {"type": "run", "run_id": f"run{i:05d}", "program": sweep["program"],
     "args": {key: {"value": value} for key, value in values.items()}}
    for i, values in enumerate(suggestions)
]
sweeps._sweep_with_runs = lambda *a, **k: {"config": yaml.safe_dump(sweep)}
sweeps._register_agent = lambda *a, **k: {"id": "agent"}

def heartbeat(api, agent_id, metrics, states):
    if states: return []
    return [todo.pop(0)] if todo else [{"type": "exit"}]

sweeps._agent_heartbeat = heartbeat
wandb.Api = lambda *a, **k: object()
os.environ["WANDB_SWEEP_ID"] = "swp00001"
agent = wandb_agent.Agent(object(), multiprocessing.Queue(), sweep_id="swp00001")
agent.POLL_INTERVAL = 1
agent.run()
print("ended", agent._finished, agent._failed)
"""


TINY = {
    "dynconv": ["--model.backbone=resnet18"],
    "cad": ["--model.backbone=resnet18"],
    "comet": ["--model.selector=small_convnet", "--model.selector_stride=4", "--model.detector_epochs=1"],
}
"""What makes the network of a shipped sweep small; the others take any timm network."""
DRIVEN = ("aim", "bottom_up", "cad", "comet", "dynconv", "erm", "jtt")
"""Sweeps that the agent runs, of those of the later methods one that trains another network first."""


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIVEN)
def test_wandbs_agent_runs_a_shipped_sweep_and_the_run_keeps_the_agents_id(name: str, tmp_path: Path) -> None:
    """The agent's loop is wandb's own; its three calls to the server are answered here."""
    path = EXPERIMENTS / "sweeps" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    row = str(EXPERIMENTS.parent / content["command"][content["command"].index("--config") + 1])
    small = [*(flag for flag in SMALL if "weights" not in flag or name in TINY), *TINY.get(name, [])]
    command = ["${env}", sys.executable, "-m", "maskexp", "fit", "--config", row, *small, "${args}"]
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**content, "command": command}))
    values = {**sample(read_sweep(path)), "trainer.max_epochs": 1}
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_PROJECT": "sweep-test", "WANDB_API_KEY": "x" * 40}
    env["PYTHONPATH"] = os.pathsep.join([str(EXPERIMENTS.parent), env.get("PYTHONPATH", "")])
    for variable in ("WANDB_RUN_ID", "WANDB_SILENT"):
        env.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", AGENT, str(file), json.dumps([values])],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    runs = sorted(path for path in (tmp_path / "runs").glob("*/*") if (path / "wandb").is_dir())
    assert len(runs) == 1, done.stdout + done.stderr
    (offline,) = (runs[0] / "wandb").glob("offline-run-*")
    run = read_offline_run(offline)
    assert run.run_id == "run00000" == (runs[0] / "wandb_id.txt").read_text()
    assert (run.sweep_id, run.project) == ("swp00001", "sweep-test")
    for key, value in values.items():
        if key.startswith("model."):
            assert run.config[key] == pytest.approx(value)
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert run.summary["val/acc_worst_group"] == pytest.approx(metrics["val/acc_worst_group"])
    assert (runs[0] / "DONE").is_file()
