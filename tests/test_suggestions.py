from __future__ import annotations

import doctest

from maskexp import suggestions
from maskexp.suggestions import did_you_mean


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(suggestions).failed == 0


def test_suggestions_ignore_case_and_keep_spelling() -> None:
    assert did_you_mean("waterbirds", ["SyntheticBirds", "WaterBirds"]) == "did you mean 'WaterBirds'?"


def test_equally_close_choices_are_all_named() -> None:
    assert did_you_mean("log_b", ["log_a", "log_c", "other"]) == "did you mean 'log_a' or 'log_c'?"


def test_only_the_closest_is_named() -> None:
    assert did_you_mean("max_epoch", ["max_epochs", "min_epochs", "max_steps"]) == "did you mean 'max_epochs'?"


def test_of_many_equally_close_choices_three_are_named() -> None:
    assert did_you_mean("net_x", [f"net_{k}" for k in range(9)]) == "did you mean 'net_0' or 'net_1' or 'net_2'?"


def test_nothing_close() -> None:
    assert did_you_mean("quux", ["fit", "test"], otherwise="") == ""
    assert did_you_mean("quux", [], otherwise="see the documentation") == "see the documentation"
