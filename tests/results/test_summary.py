from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from maskexp.results.summary import describe_checkpoint, print_summary, tabulate, write_table

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


def test_maps_of_an_evaluation_stand_side_by_side() -> None:
    values: dict[str, float | None] = {
        "val/acc": 0.5,
        "val/localization/threshold": 0.25,
        "val/localization/threshold_random": 0.75,
        "test/acc": 0.25,
        "test/epg": 0.5,
        "test/epg_grad_cam": 0.4,
        "test/localization/epg": 0.5,
        "test/localization/epg_grad_cam": 0.4,
        "test/localization/epg_random": 0.2,
        "test/fidelity/grey/pipeline/05": 0.1,
        "test/fidelity/grey/pipeline/05_random": None,
    }
    assert tabulate(values) == [
        ["metric", "val", "test", "grad_cam", "random"],
        ["acc", "0.5000", "0.2500", "", ""],
        ["localization/threshold", "0.2500", "–", "", "–"],
        ["epg", "–", "0.5000", "", ""],
        ["epg_grad_cam", "–", "0.4000", "", ""],
        ["localization/epg", "–", "0.5000", "0.4000", "0.2000"],
        ["fidelity/grey/pipeline/05", "–", "0.1000", "", "undefined"],
    ]


def test_the_table_is_stored_as_it_is_printed(tmp_path: Path) -> None:
    values: dict[str, float | None] = {
        "test/acc": 0.25,
        "test/fidelity/grey/05": 0.5,
        "test/fidelity/grey/05_random": 1.0,
    }
    write_table(values, tmp_path / "evaluations" / "table.csv")
    with (tmp_path / "evaluations" / "table.csv").open(newline="") as file:
        assert list(csv.reader(file)) == tabulate(values)


def test_no_number_is_shortened_where_the_output_is_no_terminal() -> None:
    maps = ("", "_grad_cam", "_random", "_centred_gaussian", "_constant", "_ground_truth")
    values: dict[str, float | None] = {
        f"{split}/localization/pxap_image_with_a_long_name{judged}": 0.1234
        for split in ("val", "test")
        for judged in maps
    }
    console = Console(file=io.StringIO(), width=80)
    print_summary(values, FACTS, "waterbirds", (), "r", console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("0.1234") == 7  # val and test of the own map, test of the others
    assert "…" not in text


def test_metrics_of_attributions_show_the_number_of_images_behind_them() -> None:
    text = show({"test/epg": 0.5, "test/n_epg": 40, "test/pxap": 0.25, "test/n_pxap": 42, "test/n_empty_foreground": 2})
    assert line(text, "epg") == ["epg", "0.5000 (n=40)"]
    assert line(text, "pxap") == ["pxap", "0.2500 (n=42)"]
    assert line(text, "n_empty_foreground")[1] == "2.0000"
