"""What a run was made with: versions, code, command, machine."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import maskexp
from maskexp._version import __version__

__all__ = ["describe_environment", "git_state", "now"]

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "jsonargparse",
    "numpy",
    "pillow",
    "torchcodec",
)


def describe_environment(
    command: Sequence[str], started: str, seed: int, world_size: int, device: torch.device
) -> dict[str, Any]:
    """Return a JSON-able record of the circumstances under which a command runs.

    Args:
        command: program and arguments.
        started: when the command began.
        seed: of everything that is drawn.
        world_size: number of processes.
        device: of this process.
    """
    return {
        "command": shlex.join(command),
        "started": started,
        "maskexp": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "seed": seed,
        "world_size": world_size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def git_state(package: Path | None = None) -> dict[str, Any] | None:
    """Return the commit of the repository that holds the code and whether files differ from it.

    None if the code was installed from a package, even if that lies inside somebody's repository.

    Args:
        package: folder of the code; maskexp's own if None.
    """
    folder = package or Path(maskexp.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


def now() -> str:
    """Return the local time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a file system that does not answer
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
