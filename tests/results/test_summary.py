from __future__ import annotations

import io

from rich.console import Console

from maskexp.results.summary import describe_checkpoint, print_summary

FACTS = {"path": "r/best.ckpt", "epoch": 4, "rule": "acc_worst_group", "score": 0.5, "selected": True}


def show(metrics: dict[str, float | None], *notes: str) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_summary(metrics, FACTS, "waterbirds (complete95)", notes, "r", console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, name: str) -> list[str]:
    (found,) = [row for row in text.splitlines() if row.startswith(f"│ {name} ")]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_a_column_for_each_split() -> None:
    text = show({"val/acc": 0.5, "test/acc": 0.25, "test/epg": None})
    assert line(text, "acc") == ["acc", "0.5000", "0.2500"]
    assert line(text, "epg") == ["epg", "–", "undefined"]


def test_groups_show_their_size() -> None:
    text = show({"test/acc_group/a/b": 0.75, "test/n_group/a/b": 4.0})
    assert line(text, "acc_group/a/b") == ["acc_group/a/b", "0.7500 (n=4)"]
    assert "n_group" not in text


def test_what_the_numbers_were_measured_with() -> None:
    text = show({"test/acc": 1.0}, "variant custom: [counts] differ")
    assert "waterbirds (complete95)" in text
    assert "r/best.ckpt (epoch 4; best epoch by val/acc_worst_group = 0.5000)" in text
    assert "variant custom: [counts] differ" in text
    assert "run         r" in text


def test_checkpoints_in_words() -> None:
    assert "the final epoch" in describe_checkpoint(FACTS | {"rule": "last", "score": None})
    assert "not the one that the selection by acc_worst_group chose" in describe_checkpoint(FACTS | {"selected": False})
    assert "chosen by hand" in describe_checkpoint({"path": "x.ckpt", "epoch": 0, "rule": None})
