"""What a study measured: mean and deviation over seeds, beside what was published and other rows, with verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from maskexp.studies.cells import CellState, Runs
from maskexp.studies.records import Record, read_record
from maskexp.studies.study import Column, Row, Study
from maskexp.studies.verdicts import Comparison, Sample, compare, compare_rows

__all__ = ["Difference", "Entry", "Line", "StudyTable", "tabulate_study"]

NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """One number of the table.

    Attributes:
        column: which metric.
        sample: of our runs, in shown units; None if none has the metric.
        published: mean and standard deviation, in shown units; None if none was published.
        comparison: of the two; None if nothing was published.
        values: of our runs by seed, in shown units.
    """

    column: Column
    sample: Sample | None
    published: tuple[float, float | None] | None
    comparison: Comparison | None
    values: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One number of one row against the same of another.

    Attributes:
        row: of the study.
        against: the other row, which is subtracted.
        column: which metric.
        comparison: what the runs of both say.
        common: how many seeds both rows have.
        alike: in how many of them the difference has the sign of that of the means.
    """

    row: Row
    against: Row
    column: Column
    comparison: Comparison
    common: int
    alike: int


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        row: of the study.
        done: how many of its runs are done.
        entries: one a column.
        rules: by which the checkpoints were selected, one entry where all agree.
        data: names and variants of the data that the runs used.
        digests: of these data, by seed.
        supervision: what the runs were told about groups, by method, sampling or selection; empty if they do not say.
        failures: a sentence for each run that failed, or is stale and therefore not counted.
    """

    row: Row
    done: int
    entries: tuple[Entry, ...]
    rules: tuple[str, ...]
    data: tuple[str, ...]
    digests: Mapping[int, str]
    supervision: tuple[str, ...]
    failures: tuple[str, ...]

    def entry(self, column: Column) -> Entry:
        """Return the number under ``column``."""
        return next(entry for entry in self.entries if entry.column == column)

    @property
    def runs(self) -> str:
        """Done runs, and out of how many where some are missing; nothing for a row known from the literature alone."""
        total = len(self.row.cells)
        if not total:
            return NOTHING
        return str(self.done) if self.done == total else f"{self.done}/{total}"


@dataclass(frozen=True)
class StudyTable:
    """All that is to be said about a study's results."""

    study: Study
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...] = ()

    @property
    def has_published(self) -> list[Column]:
        """Columns for which some row has a published number."""
        return [
            column
            for i, column in enumerate(self.study.columns)
            if any(line.entries[i].published is not None for line in self.lines)
        ]

    @property
    def supervisions(self) -> tuple[str, ...]:
        """What the rows were told about groups."""
        return tuple(sorted({told for line in self.lines for told in line.supervision}))

    @property
    def rules(self) -> tuple[str, ...]:
        """Selection rules of all runs."""
        return tuple(sorted({rule for line in self.lines for rule in line.rules}))

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of the published numbers, in the order of the rows."""
        found = [line.row.published.source for line in self.lines if line.row.published]
        return tuple(dict.fromkeys(found))


def tabulate_study(study: Study, runs: Runs, states: Mapping[str, CellState]) -> StudyTable:
    """Gather what the done runs of a study measured.

    Args:
        study: its rows.
        runs: where they run.
        states: of all cells, by folder.
    """
    lines = {row.name: _line(row, study.columns, runs, states) for row in study.rows}
    pairs = [(lines[pair.row], lines[pair.against], column) for pair in study.pairs for column in pair.columns]
    return StudyTable(study, tuple(lines.values()), tuple(_difference(*pair) for pair in pairs))


def _line(row: Row, columns: tuple[Column, ...], runs: Runs, states: Mapping[str, CellState]) -> Line:
    records = {cell.seed: read_record(runs.folder(cell)) for cell in row.cells if states[cell.folder].name == "done"}
    done = list(records.values())
    failures = [
        f"{row.title}, seed {cell.seed}: {state.name} ({state.detail}); log: {runs.folder(cell) / 'log.txt'}"
        for cell in row.cells
        if (state := states[cell.folder]).name in ("failed", "stale")
    ]
    entries = tuple(_entry(column, records, row) for column in columns)
    rules = tuple(sorted({record.rule for record in done if record.rule}))
    data = tuple(sorted({" ".join(filter(None, record.data)) for record in done}))
    supervision = tuple(sorted({record.supervision for record in done if record.supervision}))
    digests = {seed: record.data_digest for seed, record in records.items()}
    return Line(row, len(done), entries, rules, data, digests, supervision, tuple(failures))


def _entry(column: Column, records: Mapping[int, Record], row: Row) -> Entry:
    key, published = row.reads.get(column.metric, column.metric), row.published
    found = {seed: (record.metrics or {}).get(key) for seed, record in records.items()}
    values = {seed: value * column.scale for seed, value in found.items() if value is not None}
    sample = Sample.of(list(values.values())) if values else None
    known = published.values.get(column.metric) if published else None
    if known is None or published is None:
        return Entry(column, sample, None, None, values)
    if sample is None:
        return Entry(column, None, known, Comparison("not run"))
    if any(not _is_data(record, published.data) for record in records.values()):
        return Entry(column, sample, known, Comparison("other data", sample.mean - known[0]), values)
    return Entry(column, sample, known, compare(sample, *known, published.n, column.margin), values)


def _difference(line: Line, other: Line, column: Column) -> Difference:
    ours, theirs = line.entry(column), other.entry(column)
    if ours.sample is None or theirs.sample is None:
        return Difference(line.row, other.row, column, Comparison("not run"), 0, 0)
    common = sorted({*ours.values} & {*theirs.values})
    if line.data != other.data or any(line.digests[seed] != other.digests[seed] for seed in common):
        comparison = Comparison("other data", ours.sample.mean - theirs.sample.mean)
    else:
        comparison = compare_rows(ours.sample, theirs.sample, column.margin)
    signs = [_sign(ours.values[seed] - theirs.values[seed]) for seed in common]
    direction = _sign(comparison.difference or 0.0)
    return Difference(line.row, other.row, column, comparison, len(signs), signs.count(direction) if direction else 0)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _is_data(record: Record, wanted: Mapping[str, str]) -> bool:
    name, variant = record.data
    return wanted.get("name", name) == name and wanted.get("variant", variant) == variant
