from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path

import torch

from maskexp import __version__
from maskexp.results.environment import describe_environment, git_state, now


def test_environment_is_json_and_complete() -> None:
    env = describe_environment(["maskexp", "fit", "--x=a b"], now(), 3, 2, torch.device("cpu"))
    assert json.loads(json.dumps(env)) == env
    assert env["command"] == "maskexp fit '--x=a b'"
    assert (env["maskexp"], env["seed"], env["world_size"], env["device"]) == (__version__, 3, 2, "cpu")
    assert {"torch", "lightning", "timm"} <= env["packages"].keys()
    assert datetime.fromisoformat(env["started"]).tzinfo is not None


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_git_state(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert git_state(package) is None, "no repository"
    git(tmp_path, "init", "-q")
    assert git_state(package) is None, "a package that happens to lie inside somebody's repository"
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert git_state(package) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (package / "__init__.py").write_text("x = 1\n")
    state = git_state(package)
    assert state is not None
    assert state["dirty"] is True
