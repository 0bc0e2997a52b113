"""One run, one directory.

::

    runs/aim-waterbirds/20260115-101500-3f2a9c01/
      config.yaml     the whole configuration; `maskexp fit --config` runs it again
      env.json        versions, git, command, data digest, which checkpoint was measured and how it was chosen
      metrics.json    flat: "test/acc_worst_group": 0.74
      metrics_before.json  what stood in metrics.json before measurements that left some of its numbers out
      checkpoints/    best.ckpt and last.ckpt
      gallery/        what the model looks at, every few epochs
      evaluations/    table and charts of what a test was asked beyond the standard, as CSV and PNG
      logs/           curves as CSV, one folder for each start
      DONE            written last

Every file is written whole or not at all.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from maskexp.files import atomic_write, write_json
from maskexp.yaml_files import YamlError, read_yaml

__all__ = ["RunDirectory", "RunDirectoryError"]


class RunDirectoryError(ValueError):
    """A run directory does not hold what was asked of it."""


class RunDirectory:
    """Names and contents of a run's directory; nothing is created before something is written.

    Args:
        path: the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.env_file = self.path / "env.json"
        self.metrics_file = self.path / "metrics.json"
        self.former_metrics_file = self.path / "metrics_before.json"
        self.wandb_id_file = self.path / "wandb_id.txt"
        self.checkpoints = self.path / "checkpoints"
        self.gallery = self.path / "gallery"
        self.evaluations = self.path / "evaluations"
        self.done_file = self.path / "DONE"

    @classmethod
    def fresh(cls, method: str, data: str, root: str | Path = "runs") -> RunDirectory:
        """Return a new name ``<root>/<method>-<data>/<date>-<time>-<8 digits>``.

        The random digits keep runs apart that start in the same second.
        """
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        return cls(Path(root) / f"{method}-{data}".lower() / f"{stamp}-{secrets.token_hex(4)}")

    @classmethod
    def of_checkpoint(cls, checkpoint: str | Path) -> RunDirectory | None:
        """Return the run that a checkpoint lies in, or None if it lies elsewhere."""
        folder = Path(checkpoint).parent
        run = cls(folder.parent)
        return run if folder.name == run.checkpoints.name and run.holds_run else None

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def holds_run(self) -> bool:
        """Whether a run was started here."""
        return self.config_file.is_file()

    @property
    def done(self) -> bool:
        """Whether the run here came to its end."""
        return self.done_file.is_file()

    def checkpoint(self, name: str) -> Path | None:
        """Return ``best`` or ``last`` if it is there."""
        file = self.checkpoints / f"{name}.ckpt"
        return file if file.is_file() else None

    def read_config(self) -> dict[str, Any]:
        """Return the run's configuration.

        Raises:
            RunDirectoryError: if there is none, or it is damaged.
        """
        if not self.holds_run:
            raise RunDirectoryError(f"{self.path} holds no run: there is no {self.config_file.name} in it")
        try:
            return read_yaml(self.config_file)
        except YamlError as error:
            raise RunDirectoryError(f"the configuration of a run is damaged: {error}") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration so that ``maskexp fit --config`` takes it."""
        with atomic_write(self.config_file) as partial:
            partial.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")

    def read_env(self) -> dict[str, Any]:
        """Return the contents of env.json, empty if there is none."""
        return _read_json(self.env_file)

    def update_env(self, entries: Mapping[str, Any]) -> None:
        """Add or replace top-level entries of env.json."""
        write_json(self.env_file, self.read_env() | dict(entries))

    def read_metrics(self) -> dict[str, float | None]:
        """Return the flat metrics, empty if nothing was measured."""
        return _read_json(self.metrics_file)

    def update_metrics(self, metrics: Mapping[str, float]) -> list[str]:
        """Replace the metrics of the stages that ``metrics`` speaks of and keep those of all others.

        The stage is the key up to the first slash. Replacing a stage as a whole leaves no number of an earlier
        measurement beside new ones. What is not a finite number, such as the EPG of images without foreground,
        becomes null.

        Returns:
            The keys of these stages that ``metrics`` lacks, in order. If there are any, what the file held is kept in
            ``metrics_before.json``, beside what earlier measurements left out.
        """
        stages = {key.partition("/")[0] for key in metrics}
        before = self.read_metrics()
        kept = {key: value for key, value in before.items() if key.partition("/")[0] not in stages}
        new = {key: _number(key, value) for key, value in metrics.items()}
        missing = sorted(before.keys() - kept.keys() - new.keys())
        if missing:
            write_json(self.former_metrics_file, _read_json(self.former_metrics_file) | before)
        write_json(self.metrics_file, kept | new)
        return missing

    def mark_done(self) -> None:
        """Write DONE, with the time, as the last act of a run."""
        with atomic_write(self.done_file) as partial:
            partial.write_text(f"{datetime.now().astimezone().isoformat(timespec='seconds')}\n", encoding="utf-8")

    def reopen(self) -> None:
        """Take DONE away and clear what an interrupted writer left behind."""
        self.done_file.unlink(missing_ok=True)
        for folder in (self.path, self.checkpoints, self.gallery):
            for leftover in sorted(folder.glob(".*.part.*")):
                leftover.unlink(missing_ok=True)

    def discard_unless_begun(self, begun: bool = False) -> None:
        """Remove what a training left that failed before it began: its loggers may have written already.

        Args:
            begun: whether a training that has written its configuration down is one that began.
        """
        if not (begun and self.holds_run) and self.checkpoint("last") is None and self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)

    def discard_if_empty(self) -> None:
        """Remove the directory if all that is in it is empty folders, as a start that failed at once leaves them."""
        if any(entry.is_file() for entry in self.path.rglob("*")):
            return
        for folder in sorted((entry for entry in self.path.rglob("*")), reverse=True):
            folder.rmdir()
        if self.path.is_dir():
            self.path.rmdir()

    def wandb_id(self) -> str | None:
        """Return the id under which wandb knows this run, None if it does not know it yet."""
        if not self.wandb_id_file.is_file():
            return None
        identity = self.wandb_id_file.read_text(encoding="utf-8").strip()
        if not re.fullmatch(r"\w{4,64}", identity):
            raise RunDirectoryError(
                f"{self.wandb_id_file} is damaged: {identity!r} is no id of wandb's; delete the file"
            )
        return identity

    def new_wandb_id(self) -> str:
        """Return an id that no run has yet."""
        return secrets.token_hex(4)

    def keep_wandb_id(self, identity: str) -> None:
        """Write down the id under which wandb knows this run, so that a resumption goes on with it."""
        with atomic_write(self.wandb_id_file) as partial:
            partial.write_text(identity, encoding="utf-8")


def _number(key: str, value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    counts = key.partition("/")[2].startswith(("n_group/", "n_epg", "n_pxap", "n_empty_foreground"))
    return int(value) if counts else value


def _read_json(file: Path) -> dict[str, Any]:
    if file.is_dir():
        raise RunDirectoryError(f"{file} is a folder, not a file; move it away")
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{file} is damaged: it is no JSON; delete it and measure again") from error
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{file} is damaged: it holds no keys and values; delete it and measure again")
    return content
