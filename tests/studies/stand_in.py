"""A study on disk whose cells are a stand-in for training: a small script that leaves what a run leaves."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from maskexp._version import __version__
from maskexp.cli.config import compose
from maskexp.studies import Study, read_study

SCRIPT = """
import json, os, sys, time
folder, seconds, code, fate = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(f"{folder}/runs", "a") as file:
    file.write("run\\n")
if fate and not os.path.exists(f"{folder}/met"):
    open(f"{folder}/met", "w").close()
    if fate == "requeue":
        sys.exit(75)
    os.kill(os.getpid(), int(fate))
time.sleep(seconds)
if code:
    print("maskexp: there is no model 'AIMM'; did you mean 'AIM'?")
    sys.exit(code)
json.dump({"test/acc": 0.9}, open(f"{folder}/metrics.json", "w"))
open(f"{folder}/DONE", "w").close()
"""


def command(folder: Path, seconds: float = 0.0, code: int = 0, fate: str = "") -> list[str]:
    """Return a command that ends with ``code`` after ``seconds``.

    ``fate`` meets its first start only: ``requeue`` (it leaves with 75) or a signal's number.
    """
    return [sys.executable, "-S", "-c", SCRIPT, str(folder), str(seconds), str(code), fate]


def write_study(folder: Path, content: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write a study and its row files."""
    for name, values in (files or {"erm.yaml": ERM, "aim.yaml": AIM}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(dict(values)))
    file = folder / "a_study.yaml"
    file.write_text(yaml.safe_dump({"study": "toy", "seeds": [0, 1], "columns": ["test/acc"]} | dict(content)))
    return file


ERM = {"model": {"class_path": "ERM", "init_args": {"lr": 0.1}}, "data": {"class_path": "SyntheticBirds"}}
AIM = {"model": {"class_path": "maskexp.methods.AIM"}, "data": {"class_path": "SyntheticBirds"}}


def study_of(folder: Path, rows: Sequence[Any] = ("erm.yaml", "aim.yaml"), **content: Any) -> Study:
    """Write and read a study."""
    return read_study(write_study(folder, {"rows": list(rows)} | content), compose)


def finish(
    folder: Path, metrics: Mapping[str, float | None], version: str = __version__, digest: str = "d", **env: Any
) -> None:
    """Leave what a run that ended leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "maskexp": version,
        "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T10:01:30+00:00",
        "data": {"name": "synthetic_birds", "variant": "correlation0.95", "digest": digest},
        "evaluations": {"test": {"checkpoint": {"rule": "acc_worst_group"}}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "env.json").write_text(json.dumps(record | env))
    (folder / "DONE").write_text("")
