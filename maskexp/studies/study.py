"""What a study is: rows of runs that differ in their seed, the numbers published for them, and what is compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskexp.suggestions import did_you_mean

__all__ = ["Cell", "Column", "Pair", "Published", "Row", "Study", "StudyError", "content_address"]

NEUTRAL_KEYS = (
    *("run_dir", "ckpt_path", "gallery", "trainer.logger", "trainer.default_root_dir", "trainer.log_every_n_steps"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "data.num_workers", "data.cache_dir"),
)
"""Settings, with all below them, that change no number and are therefore no part of a cell's address."""

OWN_MODULES = ("maskexp.", "lightning.")
ADDRESS_DIGITS = 12


class StudyError(ValueError):
    """A study cannot be read or run as it is; the message is a sentence for the user."""


@dataclass(frozen=True)
class Column:
    """One metric of the table.

    Attributes:
        metric: key in metrics.json.
        title: heading.
        scale: factor from the metric to what is shown, 100 for per cent.
        margin: largest difference, in shown units, that counts as agreement; None: no agreement can be stated.
    """

    metric: str
    title: str
    scale: float = 1.0
    margin: float | None = None


@dataclass(frozen=True)
class Published:
    """What was published for a row.

    Attributes:
        source: paper and table, or wherever the numbers stand.
        n: number of runs behind them; None if it was not said.
        data: ``name`` and ``variant`` that a run's record has to show for a comparison; empty: any.
        values: mean and standard deviation (None if not published) by metric, in shown units.
    """

    source: str
    n: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study: a row with one seed.

    Attributes:
        row: name of the row.
        seed: of the run.
        config: composed configuration, seed included.
        address: first digits of the configuration's digest.
    """

    row: str
    seed: int
    config: Mapping[str, Any]
    address: str

    @property
    def folder(self) -> str:
        """Name of the run's directory; it depends on the configuration alone, so that studies share runs."""
        method, data = (_class_name(self.config.get(section)) for section in ("model", "data"))
        return f"{method}-{data}-s{self.seed}-{self.address}".lower()

    @property
    def devices(self) -> tuple[int, int]:
        """Nodes, and devices on each, that the configuration asks for; 1 where it leaves the choice to the trainer."""
        trainer = self.config.get("trainer") or {}
        counts = (trainer.get(key, 1) for key in ("num_nodes", "devices"))
        nodes, devices = (len(count) if isinstance(count, list) else count for count in counts)
        return _at_least_one(nodes), _at_least_one(devices)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: unique in the study.
        title: what the table shows.
        cells: its runs, one a seed; none for a row that is known from the literature alone.
        published: what was published for it, if anything.
        reads: keys in metrics.json of columns that this row finds under another than the column's own.
    """

    name: str
    title: str
    cells: tuple[Cell, ...] = ()
    published: Published | None = None
    reads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two rows whose difference is of interest.

    Attributes:
        row: name of a row.
        against: name of the row that is subtracted.
        columns: in which they are compared.
    """

    row: str
    against: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Study:
    """A study file, read."""

    name: str
    title: str
    file: Path
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """All runs, the first seed of every row first, so that a table has all its rows early."""
        longest = max((len(row.cells) for row in self.rows), default=0)
        return [row.cells[i] for i in range(longest) for row in self.rows if i < len(row.cells)]

    def row(self, name: str) -> Row:
        """Return the row called ``name``.

        Raises:
            StudyError: if there is none, or it has no runs.
        """
        for row in self.rows:
            if row.name == name:
                if not row.cells:
                    raise StudyError(f"the row {name!r} of {self.file} has published numbers only and cannot be run")
                return row
        raise StudyError(f"{self.file} has no row {name!r}; {did_you_mean(name, [row.name for row in self.rows])}")


def content_address(config: Mapping[str, Any]) -> str:
    """Return the digits that a configuration is known by: equal for configurations that mean the same run.

    What cannot change a number is left out; our classes count by their short names, 20 and 20.0 are the same.
    Defaults of the code are not part of it: they belong to the version, which every run records.
    """
    leaves = dict(_leaves(config, ""))
    text = json.dumps(leaves, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ADDRESS_DIGITS]


def _leaves(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        plain = key.replace(".init_args.", ".")
        if any(plain == neutral or plain.startswith(f"{neutral}.") for neutral in NEUTRAL_KEYS):
            continue
        if isinstance(value, Mapping) and value:
            leaves += _leaves(value, f"{key}.")
        else:
            leaves.append((plain, _canonical(value, name == "class_path")))
    return leaves


def _canonical(value: Any, is_class: bool = False) -> Any:
    if is_class:
        # Ours and the trainer's go by their names; two classes of a user's own modules may share one.
        name = str(value)
        return name.rpartition(".")[2] if name.startswith(OWN_MODULES) else name
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner, key == "class_path") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _class_name(section: Any) -> str:
    found = section.get("class_path") if isinstance(section, Mapping) else section
    return re.sub(r"[^\w]", "", str(found).rpartition(".")[2]) if found else "default"


def _at_least_one(count: Any) -> int:
    return count if type(count) is int and count > 0 else 1
