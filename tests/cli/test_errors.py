from __future__ import annotations

import doctest
import errno

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


def test_surprises_say_that_they_are_and_the_way_to_the_traceback() -> None:
    sentence = "maskexp did not foresee this: boom"
    assert one_sentence(RuntimeError("boom.")) == f"{sentence}; run again with --debug for the traceback, and report it"
    assert one_sentence(RuntimeError("boom."), debug=True) == sentence


@pytest.mark.parametrize(
    "error", [KeyError("x"), IndexError("stoull"), TypeError("f() got y"), RuntimeError(), ValueError()]
)
def test_no_class_name_of_an_error_is_shown(error: Exception) -> None:
    assert type(error).__name__ not in one_sentence(error)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EACCES, "Permission denied", "/x/y"), "/x/y cannot be read or written: permission denied"),
        (OSError(errno.EISDIR, "Is a directory", "a", None, "b"), "b cannot be read or written: is a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file cannot be written: the disk is full; make room or"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "aa"), "aa cannot be read or written: file name too long"),
    ],
)
def test_what_the_system_refuses_is_a_sentence_with_the_path(error: OSError, sentence: str) -> None:
    assert one_sentence(error).startswith(sentence)
    assert "[Errno" not in one_sentence(error)


def test_flags_in_both_spellings() -> None:
    args = ["--config", "a", "--x=1", "-c", "b", "--config=c=d"]
    assert take_values(args, "--config", "-c") == (["a", "b", "c=d"], ["--x=1"])
    assert last_value(args, "--config") == "c=d"
    assert last_value(args, "--y") is None


def test_flag_without_value() -> None:
    with pytest.raises(CommandError, match="--config needs a value"):
        take_values(["--config"], "--config")
