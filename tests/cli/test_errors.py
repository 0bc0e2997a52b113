from __future__ import annotations

import doctest

import pytest

from maskexp.cli import arguments, config
from maskexp.cli.arguments import last_value, take_values
from maskexp.cli.errors import CommandError, one_sentence


@pytest.mark.parametrize("module", [arguments, config])
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_missing_file_is_a_sentence() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open("/nowhere/at/all")  # noqa: PTH123, SIM115
    assert one_sentence(caught.value) == "there is no file or folder '/nowhere/at/all'"


def test_laid_out_message_keeps_its_lines() -> None:
    assert one_sentence(FileNotFoundError("not found.\n  looked for  x")) == "not found.\n  looked for  x"


def test_surprises_name_their_type_and_the_way_to_the_traceback() -> None:
    assert one_sentence(RuntimeError("boom.")) == "RuntimeError: boom; run again with --debug for the traceback"
    assert one_sentence(RuntimeError("boom."), debug=True) == "RuntimeError: boom"


def test_flags_in_both_spellings() -> None:
    args = ["--config", "a", "--x=1", "-c", "b", "--config=c=d"]
    assert take_values(args, "--config", "-c") == (["a", "b", "c=d"], ["--x=1"])
    assert last_value(args, "--config") == "c=d"
    assert last_value(args, "--y") is None


def test_flag_without_value() -> None:
    with pytest.raises(CommandError, match="--config needs a value"):
        take_values(["--config"], "--config")
