"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["describe_checkpoint", "print_summary"]

STAGES = ("val", "test")


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
) -> None:
    """Print metrics as a table with a column for each split, below it what they were measured with.

    Args:
        metrics: by flat key, ``test/acc`` …; None where a metric has no value.
        checkpoint: facts about the checkpoint: path, epoch, rule, score, selected.
        data: name and variant of the data.
        notes: what the data has to say in every output.
        run: directory that holds the numbers.
        console: where to print; standard output if None.
    """
    console = console or Console(soft_wrap=True)
    stages = [stage for stage in STAGES if any(key.startswith(f"{stage}/") for key in metrics)]
    names = list(dict.fromkeys(key.partition("/")[2] for key in metrics if key.partition("/")[0] in stages))
    counts = [name for name in names if name.startswith("n_group/")]
    table = Table()
    table.add_column("metric")
    for stage in stages:
        table.add_column(stage, justify="right")
    for name in (name for name in names if name not in counts):
        table.add_row(escape(name), *(_cell(metrics, stage, name) for stage in stages))
    console.print(escape(data), style="bold")
    console.print(table)
    console.print(f"checkpoint  {escape(describe_checkpoint(checkpoint))}")
    for note in notes:
        console.print(f"note        {escape(note)}")
    if run is not None:
        console.print(f"run         {escape(run)}")


def _cell(metrics: Mapping[str, float | None], stage: str, name: str) -> str:
    key = f"{stage}/{name}"
    if key not in metrics:
        return "–"
    value = metrics[key]
    text = "undefined" if value is None else f"{value:.4f}"
    count = metrics.get(f"{stage}/{name.replace('acc_group/', 'n_group/')}") if name.startswith("acc_group/") else None
    return text if count is None else f"{text} (n={count:.0f})"
