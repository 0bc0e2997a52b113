"""The table at the end of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskexp.attribution import attribution_names, map_title, registered_name
from maskexp.evaluation.keys import ResultKey, judged_maps
from maskexp.files import atomic_write
from maskexp.tables import print_table
from maskexp.types import OWN

__all__ = ["describe_checkpoint", "print_summary", "tabulate", "write_table"]

STAGES = ("val", "test")
COUNTED = {"epg": "n_epg", "pxap": "n_pxap"}
"""Metrics that are shown with the number of images behind them, and the name of this number."""
SHORT = {"centred_gaussian": "Gaussian", "ground_truth": "truth"}
"""Headings on paper; the stored table has the full names."""


def describe_checkpoint(facts: Mapping[str, Any]) -> str:
    """Return which checkpoint was measured and how it was chosen, in words."""
    if facts.get("rule") is None:
        rule = "chosen by hand"
    elif facts["selected"]:
        score = "" if facts["score"] is None else f" = {facts['score']:.4f}"
        rule = "the final epoch" if facts["rule"] == "last" else f"best epoch by val/{facts['rule']}{score}"
    else:
        rule = f"not the one that the selection by {facts['rule']} chose"
    return f"{facts['path']} (epoch {facts['epoch']}; {rule})"


def print_summary(
    metrics: Mapping[str, float | None],
    checkpoint: Mapping[str, Any],
    data: str,
    notes: Sequence[str] = (),
    run: str | None = None,
    console: Console | None = None,
    global_batch_size: int | None = None,
) -> None:
    """Print metrics as one table, below it what they were measured with.

    Args:
        metrics: by flat key, ``test/acc`` …; None where a metric has no value.
        checkpoint: facts about the checkpoint: path, epoch, rule, score, selected.
        data: name and variant of the data.
        notes: what the data has to say in every output.
        run: directory that holds the numbers.
        global_batch_size: samples of one step of the training, on all processes together.
        console: where to print; standard output if None.
    """
    console = console or Console(soft_wrap=True)
    header, *rows = tabulate(metrics)
    table = Table()
    table.add_column(header[0], no_wrap=True)
    for heading in header[1:]:
        table.add_column(SHORT.get(heading, _heading(heading)), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(escape(data), style="bold")
    print_table(table, console)
    console.print(f"checkpoint  {escape(describe_checkpoint(checkpoint))}")
    if global_batch_size is not None:
        console.print(f"batch       {global_batch_size} images a step, on all processes together")
    for note in notes:
        console.print(f"note        {escape(note)}")
    if run is not None:
        console.print(f"run         {escape(run)}")


def write_table(metrics: Mapping[str, float | None], path: Path) -> None:
    """Write the table that :func:`print_summary` prints as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(tabulate(metrics))


def tabulate(metrics: Mapping[str, float | None]) -> list[list[str]]:
    """Arrange metrics as rows of text, the header first.

    There is a column for each split. What an evaluation asks of several maps (``localization/epg_random``, …) stands in
    one row: the method's own map under the split, the others, of the test, in columns of their own.

    Args:
        metrics: by flat key, ``test/acc`` …; None where a metric has no value.
    """
    stages = [stage for stage in STAGES if any(key.startswith(f"{stage}/") for key in metrics)]
    names = list(dict.fromkeys(key.partition("/")[2] for key in metrics if key.partition("/")[0] in stages))
    folded: dict[str, dict[str, str]] = {}  # by the name of the method's own map, those of the others by map
    for name in names:
        key = ResultKey.parse(name)
        own = str(key._replace(attribution=OWN))
        if key.evaluation and key.attribution != OWN and own in names:
            folded.setdefault(own, {})[key.attribution] = name
    hidden = {name for found in folded.values() for name in found.values()}
    present = dict.fromkeys(judged for found in folded.values() for judged in found)
    order = judged_maps()
    others = sorted(present, key=lambda judged: order.index(registered_name(judged)))
    rows = [["metric", *stages, *others]]
    for name in names:
        if name not in hidden and not name.startswith("n_group/") and name not in COUNTED.values():
            of_own = [_cell(metrics, stage, name) for stage in stages]
            found = folded.get(name, {})
            rest = [_cell(metrics, stages[-1], found[judged]) if judged in found else "" for judged in others]
            rows.append([name, *of_own, *rest])
    return rows


def _heading(name: str) -> str:
    return map_title(name) if registered_name(name) in attribution_names() else name


def _cell(metrics: Mapping[str, float | None], stage: str, name: str) -> str:
    key = f"{stage}/{name}"
    if key not in metrics:
        return "–"
    value = metrics[key]
    text = "undefined" if value is None else f"{value:.4f}"
    counted = name.replace("acc_group/", "n_group/") if name.startswith("acc_group/") else COUNTED.get(name)
    count = None if counted is None else metrics.get(f"{stage}/{counted}")
    return text if count is None else f"{text} (n={count:.0f})"
