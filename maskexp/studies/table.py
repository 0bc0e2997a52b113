"""The table of a study: mean ± standard deviation over seeds, beside what was published, with a verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskexp.studies.cells import CellState, Record, Runs, read_record
from maskexp.studies.study import Column, Row, Study
from maskexp.studies.verdicts import Comparison, Sample, compare

__all__ = ["RENDERERS", "Entry", "Line", "StudyTable", "cells_of", "remarks_on", "tabulate_study"]

NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """One number of the table.

    Attributes:
        column: which metric.
        sample: of our runs, in shown units; None if none has the metric.
        published: mean and standard deviation, in shown units; None if none was published.
        comparison: of the two; None if nothing was published.
    """

    column: Column
    sample: Sample | None
    published: tuple[float, float | None] | None
    comparison: Comparison | None


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        row: of the study.
        done: how many of its runs are done.
        entries: one a column.
        rules: by which the checkpoints were selected, one entry where all agree.
        data: names and variants of the data that the runs used.
        supervision: what the runs were told about groups, by method, sampling or selection; empty if they do not say.
        failures: a sentence for each run that failed, or is stale and therefore not counted.
    """

    row: Row
    done: int
    entries: tuple[Entry, ...]
    rules: tuple[str, ...]
    data: tuple[str, ...]
    supervision: tuple[str, ...]
    failures: tuple[str, ...]

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
    return StudyTable(study, tuple(_line(row, study.columns, runs, states) for row in study.rows))


def _line(row: Row, columns: tuple[Column, ...], runs: Runs, states: Mapping[str, CellState]) -> Line:
    done = [read_record(runs.folder(cell)) for cell in row.cells if states[cell.folder].name == "done"]
    failures = [
        f"{row.title}, seed {cell.seed}: {state.name} ({state.detail}); log: {runs.folder(cell) / 'log.txt'}"
        for cell in row.cells
        if (state := states[cell.folder]).name in ("failed", "stale")
    ]
    entries = tuple(_entry(column, done, row) for column in columns)
    rules = tuple(sorted({record.rule for record in done if record.rule}))
    data = tuple(sorted({" ".join(filter(None, record.data)) for record in done}))
    supervision = tuple(sorted({record.supervision for record in done if record.supervision}))
    return Line(row, len(done), entries, rules, data, supervision, tuple(failures))


def _entry(column: Column, done: list[Record], row: Row) -> Entry:
    key, published = row.reads.get(column.metric, column.metric), row.published
    values = [value for record in done if (value := (record.metrics or {}).get(key)) is not None]
    sample = Sample.of([value * column.scale for value in values]) if values else None
    known = published.values.get(column.metric) if published else None
    if known is None or published is None:
        return Entry(column, sample, None, None)
    if sample is None:
        return Entry(column, None, known, Comparison("not run"))
    if any(not _is_data(record, published.data) for record in done):
        return Entry(column, sample, known, Comparison("other data", sample.mean - known[0]))
    return Entry(column, sample, known, compare(sample, *known, published.n, column.margin))


def _is_data(record: Record, wanted: Mapping[str, str]) -> bool:
    name, variant = record.data
    return wanted.get("name", name) == name and wanted.get("variant", variant) == variant


# --- rendering -------------------------------------------------------------------------------------------------------


def _digits(column: Column) -> int:
    return 3 if column.scale < 10 else 2


def _number(mean: float, std: float | None, digits: int, sign: str = "±") -> str:
    return f"{mean:.{digits}f}" + ("" if std is None else f" {sign} {std:.{digits}f}")


def cells_of(table: StudyTable, sign: str = "±") -> tuple[list[str], list[list[str]]]:
    """Return header and rows of text that the terminal, Markdown, LaTeX and reports share."""
    compared, told_apart = table.has_published, len(table.supervisions) > 1
    header = ["", "n", "supervision"] if told_apart else ["", "n"]
    for column in table.study.columns:
        header += [column.title, "published", "verdict"] if column in compared else [column.title]
    rows = []
    for line in table.lines:
        row = [line.row.title, line.runs]
        if told_apart:
            row.append(", ".join(line.supervision) or NOTHING)
        for entry in line.entries:
            digits, sample = _digits(entry.column), entry.sample
            text = NOTHING if sample is None else _number(sample.mean, sample.std, digits, sign)
            row.append(text if sample is None or sample.n == line.done else f"{text} (n={sample.n})")
            if entry.column in compared:
                row.append(NOTHING if entry.published is None else _number(*entry.published, digits, sign))
                row.append("" if entry.comparison is None else entry.comparison.verdict)
        rows.append(row)
    return header, rows


def remarks_on(table: StudyTable) -> list[str]:
    """Return what a reader has to know below the table."""
    remarks = []
    if any(line.done for line in table.lines):
        rules = ", ".join(f"best epoch by val/{rule}" if rule != "last" else "final epoch" for rule in table.rules)
        remarks.append(f"mean ± standard deviation (ddof 1) over n runs; checkpoint: {rules or 'not recorded'}")
    if len(table.supervisions) == 1 and table.supervisions != ("none",):
        remarks.append(f"every row uses {table.supervisions[0]}")
    for line in table.lines:
        if len(line.rules) > 1:
            remarks.append(f"{line.row.title}: its runs were selected by different rules ({', '.join(line.rules)})")
        if len(line.data) > 1:
            remarks.append(f"{line.row.title}: its runs used different data ({', '.join(line.data)})")
    for line in table.lines:
        remarks += [_explained(line, entry) for entry in line.entries if _is_explained(entry)]
    if table.sources:
        remarks.append(f"published: {'; '.join(table.sources)}. A published ± may be a standard error")
    remarks += [failure for line in table.lines for failure in line.failures]
    return remarks + list(table.study.notes)


def _is_explained(entry: Entry) -> bool:
    return entry.comparison is not None and entry.comparison.verdict != "not run"


def _explained(line: Line, entry: Entry) -> str:
    found, digits = entry.comparison, _digits(entry.column)
    if found is None or found.difference is None:
        raise ValueError("only what was run is explained")
    text = f"{line.row.title}, {entry.column.title}: difference {found.difference:+.{digits}f}"
    if found.interval is not None:
        low, high = found.interval
        text += f" [{low:+.{digits}f}, {high:+.{digits}f}] (95 %, {found.test})"
    if entry.column.margin is not None:
        text += f", margin {entry.column.margin:g}"
    if found.verdict == "other data":
        text += f", measured on {', '.join(line.data)}"
    return f"{text}: {found.verdict}"


def to_terminal(table: StudyTable) -> str:
    """Return the table as it is printed, as wide as it has to be."""
    header, rows = cells_of(table)
    shown = Table(title=escape(table.study.title), title_justify="left", box=box.SIMPLE_HEAD)
    for i, heading in enumerate(header):
        shown.add_column(escape(heading), justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*map(escape, row))
    output = io.StringIO()
    console = Console(
        file=output, width=max(80, sum(max(len(c) for c in column) + 4 for column in zip(header, *rows, strict=True)))
    )
    console.print(shown)
    return (
        "\n".join(line.rstrip() for line in output.getvalue().splitlines())
        + "\n"
        + "".join(f"{remark}\n" for remark in remarks_on(table))
    )


def to_markdown(table: StudyTable) -> str:
    """Return a GitHub table and a list of remarks."""
    header, rows = cells_of(table)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    text = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
    remarks = "".join(f"* {remark}\n" for remark in remarks_on(table))
    return f"{text}\n{remarks}" if remarks else text


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
    "τ": r"$\tau$",
}


def to_latex(table: StudyTable) -> str:
    """Return a tabular for booktabs; the remarks are comments above it."""
    header, rows = cells_of(table)

    def line(cells: list[str]) -> str:
        return f"{' & '.join(''.join(LATEX.get(letter, letter) for letter in cell) for cell in cells)} \\\\\n"

    remarks = "".join(f"% {remark}\n" for remark in remarks_on(table))
    head = f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n\\toprule\n{line(header)}\\midrule\n"
    return f"{remarks}{head}{''.join(map(line, rows))}\\bottomrule\n\\end{{tabular}}\n"


def to_csv(table: StudyTable) -> str:
    """Return one line for each row and metric, with all that the verdict was read off, in full precision."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(
        [
            *("study", "row", "metric", "scale", "runs", "done", "failed", "n", "mean", "std", "selection", "data"),
            "supervision",
            *("published_mean", "published_std", "published_n", "source", "difference", "low", "high", "test"),
            *("margin", "verdict"),
        ]
    )
    for line in table.lines:
        published = line.row.published
        for entry in line.entries:
            sample, known, found = entry.sample, entry.published, entry.comparison
            low, high = found.interval if found and found.interval else ("", "")
            writer.writerow(
                [
                    *(table.study.name, line.row.name, entry.column.metric, f"{entry.column.scale:g}"),
                    *(len(line.row.cells), line.done, len(line.failures)),
                    *((sample.n, sample.mean, _blank(sample.std)) if sample else (0, "", "")),
                    *("; ".join(line.rules), "; ".join(line.data), "; ".join(line.supervision)),
                    *((known[0], _blank(known[1])) if known else ("", "")),
                    *((_blank(published.n), published.source) if published and known else ("", "")),
                    *(_blank(found.difference) if found else "", low, high, found.test if found else ""),
                    *(_blank(entry.column.margin), found.verdict if found else ""),
                ]
            )
    return output.getvalue()


def _blank(value: float | None) -> float | str:
    return "" if value is None else value


RENDERERS: dict[str, Callable[[StudyTable], str]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
}
"""Ways to write a table, by name."""
