"""Rows and cells of a study: their order, and the address that a cell is known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maskexp.studies.study import content_address
from tests.studies.stand_in import study_of


def test_first_seed_of_every_row_comes_first(tmp_path: Path) -> None:
    assert [(c.row, c.seed) for c in study_of(tmp_path).cells] == [("erm", 0), ("aim", 0), ("erm", 1), ("aim", 1)]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"trainer": {"max_epochs": 20.0}}, True),
        ({"trainer": {"max_epochs": 20, "logger": {"class_path": "WandbLogger"}}}, True),
        ({"trainer": {"max_epochs": 20}, "run_dir": "elsewhere"}, True),
        (
            {"trainer": {"max_epochs": 20}, "model": {"class_path": "maskexp.methods.ERM", "init_args": {"lr": 0.1}}},
            True,
        ),
        ({"trainer": {"max_epochs": 20}, "data": {"init_args": {"num_workers": 8}}}, True),
        ({"trainer": {"max_epochs": 21}}, False),
        ({"trainer": {"max_epochs": 20}, "model": {"class_path": "mine.ERM", "init_args": {"lr": 0.1}}}, False),
        ({"trainer": {"max_epochs": 20, "devices": 2}}, False),
        ({"trainer": {"max_epochs": 20}, "model": {"class_path": "ERM", "init_args": {"lr": 0.2}}}, False),
        ({"trainer": {"max_epochs": 20}, "data": {"init_args": {"root": "data/other"}}}, False),
    ],
)
def test_the_address_changes_with_what_can_change_a_number_only(change: dict[str, Any], same: bool) -> None:
    base = {"trainer": {"max_epochs": 20}, "model": {"class_path": "ERM", "init_args": {"lr": 0.1}}}
    assert (content_address(base) == content_address({**base, **change})) is same


def test_the_folder_depends_on_the_configuration_alone(tmp_path: Path) -> None:
    one = study_of(tmp_path, ["erm.yaml"]).cells[0].folder
    other = study_of(tmp_path, [{"name": "baseline", "file": "erm.yaml"}], study="another").cells[0].folder
    assert one == other
    assert one.startswith("erm-syntheticbirds-s0-")


def test_classes_of_two_modules_of_a_users_own_are_two_runs() -> None:
    one, other = ({"model": {"class_path": f"lab.{module}.AIM"}} for module in ("new", "old"))
    assert content_address(one) != content_address(other)
