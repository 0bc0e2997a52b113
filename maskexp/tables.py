"""Tables in the terminal, and in pipes and logs, which have no width."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["print_table"]

LONGEST = 10_000
"""Characters of a line of a log, at most."""


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table; where no terminal shows it, as wide as it has to be, so that no number is shortened.

    Args:
        table: what to print.
        console: where to print; standard output if None.
    """
    console = console or Console(soft_wrap=True)
    width = console.width
    if not console.is_terminal:
        needed = Measurement.get(console, console.options.update(max_width=LONGEST), table).maximum
        console.width = max(width, needed)
    console.print(table)
    console.width = width
