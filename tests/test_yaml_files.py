"""Configuration files that may be hostile are refused in a sentence, and soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from maskexp.yaml_files import YamlError, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 11)
)


def read(folder: Path, text: str | bytes) -> dict[str, object]:
    file = folder / "row.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(file)


def test_numbers_dates_and_a_byte_order_mark(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffa: 1e-4\nb: 2026-01-31\nc: ~\nd: [1, yes]\n") == {
        "a": 1e-4,
        "b": "2026-01-31",
        "c": None,
        "d": [1, True],
    }
    assert read(tmp_path, "") == {}


def test_aliases_and_merged_keys_still_work(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "holds more than 100000 values, its aliases written out"),
        (BOMB.replace("[", "{k: [").replace("]", "]}"), "holds more than 100000 values"),
        ("a: &a [*a]", "line 1: 'a' stands for itself"),
        ("a: &a\n  b: *a", "line 2: 'a' stands for itself"),
        ("a: &a {<<: *a}", "line 1: 'a' stands for itself"),
        ("a: " + "[" * 5000 + "]" * 5000, "nest"),
        ("a: " + "{b: " * 5000 + "}" * 5000, "line 1: nested deeper than 40 levels"),
        ("a: " + "[" * 900_000, "nest"),
        ("\n".join(" " * k + "a:" for k in range(900)), "line 41: nested deeper than 40 levels"),
        ("a: 'x\n" * 400_000, "no configuration has more than 1000000"),
        ("\n".join(f"k{k}: 1" for k in range(70_000)), "holds more than 100000 values"),
        ("a: 1\na: 2", "row.yaml is no YAML in line 2: the key 'a' is given twice"),
        ("a: *b", "is no YAML in line 1: "),
        ("a: [1", "is no YAML in line "),
        ("a: b: c", "row.yaml is no YAML in line 1: mapping values are not allowed in this context"),
        ("a: \x00", "is no YAML"),
        (b"a: \xff\xfe", "is no YAML: it is not written in UTF-8"),
        ("a: b".encode("utf-16"), "is no YAML: it is not written in UTF-8"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML in line 1: "),
        ("a: " + "9" * 5000, "holds a value that cannot be read"),
        ("a: !!bool maybe", "holds a value that cannot be read"),
        ("a: !!set {x, y}", "a holds a set, which no setting takes"),
        ("a: {b: !!binary aGVsbG8=}", "a.b holds a bytes, which no setting takes"),
        ("1: a", "the key 1 is no text; put it in quotes"),
        ("a: {true: b}", "the key True in a is no text; put it in quotes"),
        ("? [a]\n: b", "is no YAML"),
        ("- a", "has to hold keys and values, but holds a list"),
        ("a: 1\n---\nb: 2", "is no YAML in line 2: "),
    ],
)
def test_what_is_no_configuration_is_one_sentence_with_the_file(
    text: str | bytes, sentence: str, tmp_path: Path
) -> None:
    start = time.monotonic()
    with pytest.raises(YamlError) as caught:
        read(tmp_path, text)
    assert time.monotonic() - start < 5
    assert sentence in str(caught.value)
    assert str(tmp_path / "row.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_twenty_thousand_keys_are_read_soon(tmp_path: Path) -> None:
    start = time.monotonic()
    assert len(read(tmp_path, "\n".join(f"k{k}: 1" for k in range(20_000)))) == 20_000
    assert time.monotonic() - start < 5


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in (("/dev/zero", "a device or a pipe"), (tmp_path / "pipe", "a device"), (tmp_path, "is a folder")):
        with pytest.raises(YamlError, match=what):
            read_yaml(path)
    with pytest.raises(YamlError, match="is no path of a file"):
        read_yaml("a\0b")
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "none.yaml")
