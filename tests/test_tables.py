"""Tables in terminals, pipes and logs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from maskexp.tables import print_table


@pytest.fixture
def table() -> Table:
    table = Table()
    for column in range(8):
        table.add_column(f"a column's heading {column}", no_wrap=True)
    table.add_row(*["0.0006400285609942264"] * 8)
    return table


def test_no_number_is_shortened_in_a_pipe(table: Table) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_table(table, console)
    assert console.file.getvalue().count("0.0006400285609942264") == 8  # type: ignore[attr-defined]
    assert console.width == 80, "what follows is as wide as before"


def test_a_terminal_keeps_its_width(table: Table) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    print_table(table, console)
    assert max(map(len, console.file.getvalue().splitlines())) <= 80  # type: ignore[attr-defined]
