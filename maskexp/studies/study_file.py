"""A study file: rows of experiments × seeds, and the numbers that were published for them.

::

    study: quickstart
    title: Four methods on drawn birds
    seeds: [0, 1, 2]
    seed_keys: [seed_everything, data.seed]
    overrides: {trainer.max_epochs: 20}
    columns:
      - {metric: test/acc_worst_group, title: WGA, scale: 100, margin: 1.0}
    rows:
      - synthetic/erm.yaml                    # the row "erm"
      - real95/*_aim_*.yaml                   # one row for each file, named after it
      - name: aim_35
        title: AIM[2, 35 %]
        file: synthetic/aim.yaml
        overrides: {model.tau: 0.35}
        published:
          source: the paper's Table 1
          values: {test/acc_worst_group: [78.1, 0.4]}
      - name: cub                             # several files, laid on each other in this order
        file: [data/cub.yaml, synthetic/aim.yaml]
        reads: {test/acc: test/acc_group_mean}  # where this row finds what a column shows, if not under its name
      - name: diet                            # no file: known from the literature alone
        published: {source: the paper's Table 1, values: {test/acc_worst_group: 71.0}}
    comparisons:                              # of two rows that are run; in all columns, or in some metrics
      - {row: aim_35, against: erm, metrics: [test/acc_worst_group]}

Files are relative to the study. Overrides are written with dotted keys, as on the command line, or nested; those of a
row lie on those of the study. A published value is a mean, or a mean and a standard deviation, in the units of its
column (the metric times ``scale``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskexp.studies.study import Cell, Column, Pair, Published, Row, Study, StudyError, content_address
from maskexp.suggestions import did_you_mean

__all__ = ["Compose", "is_number", "is_study", "read_study"]

Compose = Callable[[Sequence[Path] | Mapping[str, Any], Sequence[tuple[Mapping[str, Any], str]]], dict[str, Any]]
"""Reads configuration files with their layers, or takes what it returned before; lays overrides (each with where it
comes from) on top; returns all."""

STUDY_KEYS = (
    "study",
    "title",
    "seeds",
    "seed_keys",
    "overrides",
    "columns",
    "published",
    "rows",
    "comparisons",
    "notes",
)
ROW_KEYS = ("name", "title", "file", "overrides", "reads", "seeds", "published")
COLUMN_KEYS = ("metric", "title", "scale", "margin")
PAIR_KEYS = ("row", "against", "metrics")
PUBLISHED_KEYS = ("source", "n", "data", "values")


def is_study(values: Mapping[str, Any]) -> bool:
    """Whether the contents of a YAML file are a study rather than a configuration."""
    return "study" in values and "rows" in values


def read_study(file: str | Path, compose: Compose) -> Study:
    """Read a study and compose the configuration of each of its runs.

    Args:
        file: the study.
        compose: reads and merges configuration files.

    Raises:
        StudyError: if the study says something that it cannot say.
    """
    path = Path(file)
    values = compose([path], [])
    if not is_study(values):
        raise StudyError(f"{path} is no study: a study has the keys study (its name) and rows")
    _only(values, STUDY_KEYS, f"{path}")
    name = str(values["study"])
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise StudyError(f"{path}: the name {name!r} may hold letters, digits, '.', '_' and '-' only")
    rows: list[Row] = []
    for entry in _list(values["rows"], f"rows in {path}"):
        rows += _rows(entry, values, path, compose)
    names = [row.name for row in rows]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise StudyError(f"{path} has two rows called {twice[0]!r}; give each a name of its own")
    if not rows:
        raise StudyError(f"{path} has no rows")
    columns = tuple(_column(entry, path) for entry in _list(values.get("columns", []), f"columns in {path}"))
    _check_published_columns(rows, columns, path)
    notes = tuple(str(note) for note in _list(values.get("notes", []), f"notes in {path}"))
    pairs = tuple(
        _pair(entry, rows, columns, path) for entry in _list(values.get("comparisons", []), f"comparisons in {path}")
    )
    return Study(name, str(values.get("title", name)), path, columns, tuple(rows), notes, pairs)


def _rows(entry: Any, study: Mapping[str, Any], path: Path, compose: Compose) -> list[Row]:
    """Return the rows of one entry: a file, a pattern of files, or a mapping."""
    if isinstance(entry, str):
        entry = {"file": entry}
    if not isinstance(entry, Mapping):
        raise StudyError(f"a row in {path} is a file or a mapping with file or name, not {entry!r}")
    where = f"the row {entry.get('name', entry.get('file', '?'))!r} of {path}"
    _only(entry, ROW_KEYS, where)
    published = _published(entry.get("published"), study, path, where)
    if "file" not in entry:
        if "name" not in entry or published is None:
            raise StudyError(f"{where} needs a file to run, or a name and published numbers")
        if idle := [key for key in ("overrides", "seeds", "reads") if key in entry]:
            raise StudyError(f"{where} has {idle[0]} but no file, so that nothing of it is run; name its file")
        return [Row(str(entry["name"]), str(entry.get("title", entry["name"])), (), published)]
    if isinstance(entry["file"], list):
        if "name" not in entry:
            raise StudyError(f"{where} lays several files on each other and needs a name")
        layers = [_files(str(file), path, where, compose) for file in entry["file"]]
        stacks = [[file for found in layers for file in found]]
    else:
        stacks = [[file] for file in _files(str(entry["file"]), path, where, compose)]
    if len(stacks) > 1 and (published is not None or "name" in entry or "title" in entry):
        raise StudyError(
            f"{where} stands for {len(stacks)} files; a name, title or published numbers belong to one row"
        )
    reads = {column: str(key) for column, key in _mapping(entry.get("reads"), f"reads of {where}").items()}
    overrides = [(_mapping(study.get("overrides"), f"overrides in {path}"), f"overrides of {path}")]
    overrides.append((_mapping(entry.get("overrides"), f"overrides of {where}"), f"overrides of {where}"))
    rows = []
    for files in stacks:
        config = compose(files, overrides)
        name = str(entry.get("name", files[-1].stem))
        seeds = _seeds(entry.get("seeds", study.get("seeds", [0])), where)
        keys = _list(study.get("seed_keys", ["seed_everything"]), f"seed_keys in {path}")
        cells = tuple(_cell(name, seed, config, keys, compose, where) for seed in seeds)
        rows.append(Row(name, str(entry.get("title", name)), cells, published, reads))
    return rows


def _cell(row: str, seed: int, config: Mapping[str, Any], keys: Sequence[Any], compose: Compose, where: str) -> Cell:
    own = compose(config, [({str(key): seed for key in keys}, f"the seed of {where}")])
    return Cell(row, seed, own, content_address(own))


def _files(pattern: str, study: Path, where: str, compose: Compose) -> list[Path]:
    """Return the files that a pattern names; studies among them are no rows."""
    folder = study.parent
    if not any(sign in pattern for sign in "*?["):
        file = folder / pattern
        if not file.is_file():
            near = sorted(str(other.relative_to(file.parent)) for other in file.parent.glob("*.yaml"))
            hint = f"; {did_you_mean(file.name, near, 'look at its folder')}" if near else ""
            raise StudyError(f"{where}: there is no file {file}{hint}")
        return [file]
    if Path(pattern).is_absolute():
        raise StudyError(f"{where}: the pattern {pattern} is not relative to the study, as the files of a study are")
    found = sorted(file for file in folder.glob(pattern) if file.is_file())
    files = [file for file in found if not is_study(compose([file], []))]
    if not files:
        raise StudyError(f"{where}: no file matches {pattern} in {folder}")
    return files


def _published(entry: Any, study: Mapping[str, Any], path: Path, where: str) -> Published | None:
    common = _mapping(study.get("published"), f"published in {path}")
    _only(common, PUBLISHED_KEYS, f"published in {path}")
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise StudyError(f"{where}: published is a mapping with source and values")
    _only(entry, PUBLISHED_KEYS, f"published of {where}")
    merged = {**common, **entry}
    if not str(merged.get("source") or "").strip():
        raise StudyError(f"{where} has published numbers without a source; say where they stand (published.source)")
    n = merged.get("n")
    if n is not None and (type(n) is not int or n < 1):
        raise StudyError(f"{where}: published.n is a number of runs, not {n!r}")
    values = merged.get("values") or {}
    if not isinstance(values, Mapping):
        raise StudyError(f"{where}: published.values gives a number for each metric")
    pairs = {str(metric): _mean_and_std(value, f"{where}, {metric}") for metric, value in values.items()}
    data = {key: str(value) for key, value in _mapping(merged.get("data"), f"published.data of {where}").items()}
    _only(data, ("name", "variant"), f"published.data of {where}")
    return Published(str(merged["source"]), n, data, pairs)


def _mean_and_std(value: Any, where: str) -> tuple[float, float | None]:
    pair = value if isinstance(value, list) else [value, None]
    if len(pair) == 2 and is_number(pair[0]) and (pair[1] is None or (is_number(pair[1]) and pair[1] >= 0)):
        return float(pair[0]), None if pair[1] is None else float(pair[1])
    raise StudyError(f"{where}: a published value is a mean, or [mean, standard deviation], not {value!r}")


def _column(entry: Any, path: Path) -> Column:
    if isinstance(entry, str):
        entry = {"metric": entry}
    if not isinstance(entry, Mapping) or "metric" not in entry:
        raise StudyError(f"a column in {path} is a metric such as test/acc, or a mapping with metric, not {entry!r}")
    _only(entry, COLUMN_KEYS, f"the column {entry['metric']!r} of {path}")
    metric, scale, margin = str(entry["metric"]), entry.get("scale", 1.0), entry.get("margin")
    if not is_number(scale) or scale <= 0 or not (margin is None or (is_number(margin) and margin > 0)):
        raise StudyError(f"scale and margin of the column {metric!r} of {path} have to be positive numbers")
    title = str(entry.get("title", metric.removeprefix("test/")))
    return Column(metric, title, float(scale), None if margin is None else float(margin))


def _check_published_columns(rows: Sequence[Row], columns: Sequence[Column], path: Path) -> None:
    known = [column.metric for column in columns]
    for row in rows:
        for metric in (*(row.published.values if row.published else ()), *row.reads):
            if metric not in known:
                raise StudyError(
                    f"{path} says something of {metric!r} for {row.name!r} but has no such column; "
                    f"{did_you_mean(metric, known, 'add it to columns')}"
                )


def _pair(entry: Any, rows: Sequence[Row], columns: tuple[Column, ...], path: Path) -> Pair:
    if not isinstance(entry, Mapping) or not {"row", "against"} <= set(entry):
        raise StudyError(f"a comparison in {path} is a mapping with row and against, two names of rows, not {entry!r}")
    where = f"the comparison of {entry['row']!r} against {entry['against']!r} in {path}"
    _only(entry, PAIR_KEYS, where)
    run = [row.name for row in rows if row.cells]
    for name in (str(entry["row"]), str(entry["against"])):
        if name not in run:
            raise StudyError(f"{where}: there is no row {name!r} that is run; {did_you_mean(name, run)}")
    one, other = (next(row for row in rows if row.name == str(entry[key])) for key in ("row", "against"))
    if {cell.folder for cell in one.cells} == {cell.folder for cell in other.cells} and one.reads == other.reads:
        raise StudyError(f"{where} compares a run with itself")
    if "metrics" not in entry:
        return Pair(one.name, other.name, columns)
    metrics = _list(entry["metrics"], f"metrics of {where}")
    if not metrics or any(metrics.count(metric) > 1 for metric in metrics):
        raise StudyError(f"metrics of {where} are the metrics of columns, each once, not {metrics}")
    known = [column.metric for column in columns]
    for metric in metrics:
        if metric not in known:
            raise StudyError(f"{where}: no column shows {metric!r}; {did_you_mean(str(metric), known)}")
    return Pair(
        one.name, other.name, tuple(column for metric in metrics for column in columns if column.metric == metric)
    )


def _seeds(value: Any, where: str) -> list[int]:
    if isinstance(value, list) and value and all(type(seed) is int and seed >= 0 for seed in value):
        if len(set(value)) == len(value):
            return list(value)
        raise StudyError(f"{where}: a seed is given twice in {value}")
    raise StudyError(f"{where}: seeds is a list of whole numbers from 0 on, not {value!r}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise StudyError(f"{where} are keys and values, not {value!r}")
    return {str(key): inner for key, inner in value.items()}


def _only(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise StudyError(f"{where} has no key {key!r}; {did_you_mean(str(key), known)}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise StudyError(f"{where} has to be a list, not {value!r}")
    return value


def is_number(value: Any) -> bool:
    """Return whether a value of a file is a finite number, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
