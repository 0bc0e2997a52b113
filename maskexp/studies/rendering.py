"""A study's table as text: on the terminal, in Markdown, LaTeX and CSV, and its cells for the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskexp.studies.study import Column
from maskexp.studies.table import NOTHING, Difference, Entry, Line, StudyTable
from maskexp.studies.verdicts import Comparison

__all__ = ["RENDERERS", "cells_of", "pairs_of", "remarks_on"]


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


PAIR_HEADER = ("", "against", "number", "difference", "95 % interval", "seeds", "verdict")


def pairs_of(table: StudyTable) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of text of the rows that the study compares with each other; no rows if it does not."""
    return list(PAIR_HEADER), [_pair(found) for found in table.differences]


def _pair(found: Difference) -> list[str]:
    digits, comparison = _digits(found.column), found.comparison
    difference = NOTHING if comparison.difference is None else f"{comparison.difference:+.{digits}f}"
    interval = NOTHING if comparison.interval is None else _interval(comparison.interval, digits)
    seeds = f"{found.alike}/{found.common}" if found.common else NOTHING
    return [found.row.title, found.against.title, found.column.title, difference, interval, seeds, comparison.verdict]


def _interval(interval: tuple[float, float], digits: int) -> str:
    return f"[{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"


PAIR_REMARK = (
    "differences of rows: Welch's 95 % interval over their runs, not corrected for how many are compared; seeds: how "
    "many of those that both rows have differ in the direction of the means"
)


def remarks_on(table: StudyTable) -> list[str]:
    """Return what a reader has to know below the table."""
    remarks = []
    if any(line.done for line in table.lines):
        rules = ", ".join(f"best epoch by val/{rule}" if rule != "last" else "final epoch" for rule in table.rules)
        remarks.append(f"mean ± standard deviation (ddof 1) over n runs; checkpoint: {rules or 'not recorded'}")
    if len(table.supervisions) == 1 and table.supervisions != ("none",):
        remarks.append(f"every row uses {table.supervisions[0]}")
    if any(found.comparison.interval is not None for found in table.differences):
        remarks.append(PAIR_REMARK)
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
    return [" ".join(remark.split()) for remark in [*remarks, *table.study.notes]]


def _is_explained(entry: Entry) -> bool:
    return entry.comparison is not None and entry.comparison.verdict != "not run"


def _explained(line: Line, entry: Entry) -> str:
    found, digits = entry.comparison, _digits(entry.column)
    if found is None or found.difference is None:
        raise ValueError("only what was run is explained")
    text = f"{line.row.title}, {entry.column.title}: difference {found.difference:+.{digits}f}"
    if found.interval is not None:
        text += f" {_interval(found.interval, digits)} (95 %, {found.test})"
    if entry.column.margin is not None:
        text += f", margin {entry.column.margin:g}"
    if found.verdict == "other data":
        text += f", measured on {', '.join(line.data)}"
    return f"{text}: {found.verdict}"


def to_terminal(table: StudyTable) -> str:
    """Return the tables as they are printed, as wide as they have to be, and the remarks."""
    text = _printed(*cells_of(table), title=table.study.title)
    if table.differences:
        text += _printed(*pairs_of(table), left=3)
    return text + "".join(f"{remark}\n" for remark in remarks_on(table))


def _printed(header: list[str], rows: list[list[str]], title: str | None = None, left: int = 1) -> str:
    """Return a table of which the first ``left`` columns are text and the others numbers."""
    shown = Table(title=None if title is None else escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for i, heading in enumerate(header):
        shown.add_column(escape(heading), justify="left" if i < left else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*map(escape, row))
    output = io.StringIO()
    width = sum(max(len(cell) for cell in column) + 4 for column in zip(header, *rows, strict=True))
    Console(file=output, width=max(80, width)).print(shown)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def to_markdown(table: StudyTable) -> str:
    """Return GitHub tables and a list of remarks."""
    tables = [_markdown(*cells_of(table))]
    if table.differences:
        tables.append(_markdown(*pairs_of(table), left=3))
    remarks = "".join(f"* {remark}\n" for remark in remarks_on(table))
    return "\n".join([*tables, remarks] if remarks else tables)


def _markdown(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


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
    """Return tabulars for booktabs; the remarks are comments above them."""
    remarks = "".join(f"% {remark}\n" for remark in remarks_on(table))
    pairs = "\n" + _latex(*pairs_of(table), left=3) if table.differences else ""
    return remarks + _latex(*cells_of(table)) + pairs


def _latex(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    def line(cells: list[str]) -> str:
        return f"{' & '.join(''.join(LATEX.get(letter, letter) for letter in cell) for cell in cells)} \\\\\n"

    head = f"\\begin{{tabular}}{{{'l' * left}{'r' * (len(header) - left)}}}\n\\toprule\n{line(header)}\\midrule\n"
    return f"{head}{''.join(map(line, rows))}\\bottomrule\n\\end{{tabular}}\n"


CSV_COLUMNS = (
    *("study", "row", "metric", "scale", "runs", "done", "failed", "n", "mean", "std", "selection", "data"),
    *("supervision", "published_mean", "published_std", "published_n", "source"),
    *("against", "difference", "low", "high", "test", "margin", "verdict"),
)


def to_csv(table: StudyTable) -> str:
    """Return a line for each row and metric, then one for each difference of rows, in full precision.

    Each has all that its verdict was read off; ``against`` names the other row, and is empty beside published numbers.
    """
    output = io.StringIO()
    writer = csv.DictWriter(output, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    lines = {line.row.name: line for line in table.lines}
    for line in table.lines:
        for entry in line.entries:
            known, published = entry.published, line.row.published
            fields = _measured(table, line, entry)
            if known is not None and published is not None:
                fields |= {"published_mean": known[0], "published_std": _blank(known[1])}
                fields |= {"published_n": _blank(published.n), "source": published.source}
            writer.writerow(fields | _compared(entry.comparison))
    for found in table.differences:
        line = lines[found.row.name]
        fields = _measured(table, line, line.entry(found.column)) | {"against": found.against.name}
        writer.writerow(fields | _compared(found.comparison))
    return output.getvalue()


def _measured(table: StudyTable, line: Line, entry: Entry) -> dict[str, object]:
    sample, column = entry.sample, entry.column
    numbers = {"n": sample.n, "mean": sample.mean, "std": _blank(sample.std)} if sample else {"n": 0}
    return {
        "study": table.study.name,
        "row": line.row.name,
        "metric": column.metric,
        "scale": f"{column.scale:g}",
        "runs": len(line.row.cells),
        "done": line.done,
        "failed": len(line.failures),
        "selection": "; ".join(line.rules),
        "data": "; ".join(line.data),
        "supervision": "; ".join(line.supervision),
        "margin": _blank(column.margin),
    } | numbers


def _compared(comparison: Comparison | None) -> dict[str, object]:
    if comparison is None:
        return {}
    low, high = comparison.interval or ("", "")
    return {
        "difference": _blank(comparison.difference),
        "low": low,
        "high": high,
        "test": comparison.test,
        "verdict": comparison.verdict,
    }


def _blank(value: float | None) -> float | str:
    return "" if value is None else value


RENDERERS: dict[str, Callable[[StudyTable], str]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
}
"""Ways to write a table, by name."""
