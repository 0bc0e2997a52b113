from __future__ import annotations

from collections import Counter

import pytest

from maskexp.data.errors import DataError
from maskexp.data.manifest.hold_out import hold_out
from maskexp.data.manifest.table import Row

SIZES = {(0, 0): 30, (0, 1): 29, (1, 0): 7, (1, 1): 2}
ROWS = [
    *(
        Row(f"{label}{attribute}-{i:02d}", "train", label, attribute=attribute)
        for (label, attribute), n in SIZES.items()
        for i in range(n)
    ),
    *(Row(f"t{i}", "test", i % 2) for i in range(5)),
]


def test_counts_follow_the_rule() -> None:
    held = Counter((row.label, row.attribute) for row in hold_out(ROWS, 0.2, 0) if row.split == "val")

    assert held == {key: round(0.2 * n) for key, n in SIZES.items() if round(0.2 * n)}
    assert held == {(0, 0): 6, (0, 1): 6, (1, 0): 1}


def test_draw_depends_on_the_seed_alone() -> None:
    def drawn(rows: list[Row], seed: int) -> set[str]:
        return {row.id for row in hold_out(rows, 0.2, seed) if row.split == "val"}

    assert drawn(ROWS, 0) == drawn(ROWS[::-1], 0)
    assert drawn(ROWS, 0) != drawn(ROWS, 1)


def test_other_splits_stay_and_nothing_is_lost() -> None:
    rows = hold_out(ROWS, 0.5, 3)

    assert [row.id for row in rows] == [row.id for row in ROWS]
    assert Counter(row.split for row in rows)["test"] == 5


def test_nothing_held_out_validates_on_test() -> None:
    rows = hold_out(ROWS, 0, 0)

    assert rows[: len(ROWS)] == ROWS
    assert [(row.id, row.split) for row in rows[len(ROWS) :]] == [(f"t{i}", "val") for i in range(5)]


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (1.0, r"val_fraction is 1\.0; it must be in \[0, 1\)"),
        (-0.1, "val_fraction is -0.1"),
        (0.001, "val_fraction 0.001 holds out 0 of 68 training images"),
        (0.999, "holds out 68 of 68"),
    ],
)
def test_fractions_that_make_no_sense(fraction: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hold_out(ROWS, fraction, 0)
