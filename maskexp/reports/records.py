"""What a run left on disk, read without torch: configuration, environment, metrics, curves, audit."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskexp.yaml_files import YamlError, read_yaml

__all__ = ["RecordError", "RunRecord", "find_runs", "mapping", "read_run"]

CONFIG, ENVIRONMENT, METRICS, AUDIT = "config.yaml", "env.json", "metrics.json", "evaluations/audit.json"
FINDING = {"part", "question", "number", "control", "verdict", "sentence"}
"""What a finding of an audit has to say."""
TRAINED_FIRST = ("detectors", "classifiers", "identifiers", "predictors")
"""Folders beside runs, of what their methods trained first."""
SET_ASIDE = ".stale-"
"""In the name of a run that another one has taken the place of."""
DEEPEST = 2
"""Folders below the given one in which runs are looked for."""


class RecordError(ValueError):
    """A folder holds no run, or a damaged one; the message is a sentence for the user."""


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        folder: of the run.
        name: by which the report calls it.
        config: the whole configuration.
        config_text: as it stands in the file.
        environment: of env.json.
        metrics: of metrics.json, flat.
        curves: for each logged name its epochs and values, the mean over the steps of an epoch.
        audit: of ``maskexp audit``, None if there was none.
        done: whether the run came to its end.
    """

    folder: Path
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    done: bool = False

    @property
    def method(self) -> str:
        """Short name of the method."""
        section = self.config.get("model")
        found = section.get("class_path") if isinstance(section, Mapping) else section
        return str(found or "").rpartition(".")[2]

    @property
    def data(self) -> str:
        """Name of the data, with its variant in brackets."""
        data = mapping(self.environment.get("data"))
        name, variant = (str(data.get(key) or "") for key in ("name", "variant"))
        return f"{name} ({variant})" if variant else name

    @property
    def digest(self) -> str:
        """Of the data."""
        return str(mapping(self.environment.get("data")).get("digest") or "")

    @property
    def checkpoint(self) -> Path | None:
        """The selected checkpoint, where it is there."""
        file = self.folder / "checkpoints" / "best.ckpt"
        return file if file.is_file() else None

    def metric(self, name: str) -> float | None:
        """Return a number of the test split; None if it was not measured or has no value."""
        return self.metrics.get(f"test/{name}")

    @property
    def groups(self) -> dict[str, tuple[float, int | None]]:
        """Accuracy and number of test images by group."""
        prefix = "test/acc_group/"
        found = {}
        for key, value in self.metrics.items():
            if key.startswith(prefix) and value is not None:
                count = self.metrics.get(f"test/n_group/{key.removeprefix(prefix)}")
                found[key.removeprefix(prefix)] = (value, None if count is None else int(count))
        return found


def find_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder, or in folders up to two levels below it, sorted by name.

    What they trained first, and stale runs that were set aside, are left out unless ``folder`` is one of them.

    Raises:
        RecordError: if there is none.
    """
    if (folder / CONFIG).is_file():
        return [folder]
    level, found = [folder], list[Path]()
    for _ in range(DEEPEST):
        entries = sorted(entry for parent in level for entry in parent.iterdir() if entry.is_dir())
        entries = [entry for entry in entries if entry.name not in TRAINED_FIRST and SET_ASIDE not in entry.name]
        found += [entry for entry in entries if (entry / CONFIG).is_file()]
        level = [entry for entry in entries if not (entry / CONFIG).is_file()]
    if not found:
        raise RecordError(f"{folder} holds no run: there is no {CONFIG} in it, or {DEEPEST} levels below it")
    return found


def read_run(folder: Path, name: str | None = None) -> RunRecord:
    """Read what a run left.

    Args:
        folder: of the run.
        name: by which the report calls it; that of the folder if None.

    Raises:
        RecordError: if there is no run, or a file of it is damaged.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise RecordError(f"{folder} holds no run: there is no {CONFIG} in it")
    try:
        config = read_yaml(file)
    except YamlError as error:
        raise RecordError(f"the configuration of a run is damaged: {error}") from error
    metrics = {key: value for key, value in _json(folder / METRICS).items() if _is_number(value) or value is None}
    return RunRecord(
        folder=folder,
        name=name or folder.name,
        config=config,
        config_text=file.read_text(encoding="utf-8", errors="replace"),
        environment=_json(folder / ENVIRONMENT),
        metrics=metrics,
        curves=_curves(sorted((folder / "logs").glob("version_*/metrics.csv"), key=_version)),
        audit=_audit(folder / AUDIT),
        done=(folder / "DONE").is_file(),
    )


def _audit(file: Path) -> dict[str, Any] | None:
    """Return what ``maskexp audit`` wrote, None if it has not."""
    content = _json(file)
    if not content:
        return None
    findings = content.get("findings")
    whole = isinstance(findings, list) and {"images", "of", "split", "mask"} <= content.keys()
    if not whole or not all(_is_finding(each) for each in findings or ()):
        raise RecordError(f"{file} is damaged: it is no audit; delete it and run maskexp audit again")
    return content


def _is_finding(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() >= FINDING:
        return False
    numbers = (
        *(mapping(value["number"]).get(name) for name in ("value", "low", "high")),
        mapping(value["control"]).get("value"),
    )
    counted = mapping(value["number"]).get("n", 0)
    return all(number is None or _is_number(number) for number in numbers) and _is_number(counted)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return what should have keys and values, nothing of it where it has not."""
    return value if isinstance(value, Mapping) else {}


def _version(file: Path) -> int:
    number = file.parent.name.removeprefix("version_")
    return int(number) if number.isdigit() else -1


def _curves(files: Sequence[Path]) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the mean of each logged value over each epoch; a later start replaces the epochs that it ran again."""
    by_name: dict[str, dict[int, float]] = {}
    for file in files:
        sums: dict[tuple[str, int], list[float]] = {}
        try:
            with file.open(newline="", encoding="utf-8") as text:
                for row in csv.DictReader(text):
                    epoch = row.get("epoch") or ""
                    if not epoch.isdigit():
                        continue
                    for name, value in row.items():
                        if name not in ("epoch", "step", None) and (number := _number(value)) is not None:
                            sums.setdefault((name, int(epoch)), []).append(number)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise RecordError(f"{file} is damaged: it is no table of curves; delete it") from error
        for (name, number_of_epoch), values in sums.items():
            by_name.setdefault(name, {})[number_of_epoch] = math.fsum(values) / len(values)
    return {
        name: (tuple(float(epoch) for epoch in sorted(values)), tuple(values[epoch] for epoch in sorted(values)))
        for name, values in by_name.items()
    }


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{file} is damaged: it is no JSON; delete it and measure again") from error
    if not isinstance(content, dict):
        raise RecordError(f"{file} is damaged: it holds no keys and values; delete it and measure again")
    return content
