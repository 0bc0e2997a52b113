"""The table of a study: numbers, verdicts and remarks, in every format."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from maskexp.studies import RENDERERS, Runs, StudyTable, tabulate_study
from tests.studies.stand_in import finish, study_of

COLUMNS = [{"metric": "test/acc", "title": "acc [%]", "scale": 100, "margin": 2}, "test/epg"]


def published(mean: float, *std: float, **more: Any) -> dict[str, Any]:
    return {"source": "Table_1 & co", "values": {"test/acc": [mean, *std] if std else mean}} | more


@pytest.fixture
def table(tmp_path: Path) -> StudyTable:
    rows = [
        {"name": "erm", "file": "erm.yaml", "title": "ERM", "published": published(95.0, 0.5, n=5)},
        {"name": "aim", "file": "aim.yaml", "title": "AIM[2, 35 %]", "published": published(60.0)},
        *(_row(f"x{i}", i) for i in range(3)),
        {"name": "diet", "published": published(73.0, 1.2)},
    ]
    study = study_of(tmp_path, rows, columns=COLUMNS, seeds=[0, 1, 2])
    runs = Runs(tmp_path / "runs")
    values = {
        "erm": [0.949, 0.951, 0.95],
        "aim": [0.8, 0.82],
        "x0": [0.9],
        "x1": [0.9, 0.91, 0.92],
    }
    for name, accuracies in values.items():
        for cell, accuracy in zip(study.row(name).cells, accuracies, strict=False):
            epg = {} if name == "erm" and cell.seed == 2 else {"test/epg": None if name == "aim" else 0.5}
            finish(runs.folder(cell), {"test/acc": accuracy} | epg)
    log = runs.folder(study.row("aim").cells[2])
    log.mkdir(parents=True)
    (log / "failed.json").write_text('{"exit_code": 1, "reason": "out of memory", "attempts": 1}')
    return tabulate_study(study, runs, runs.states(study.cells))


def _row(name: str, knob: int) -> dict[str, Any]:
    data = {"name": "waterbirds"} if name == "x1" else {}
    overrides = {"model.lr": knob + 1.0}
    return {"name": name, "file": "erm.yaml", "overrides": overrides, "published": published(90.0, 1.0, data=data)}


def test_numbers_counts_and_verdicts(table: StudyTable) -> None:
    said = {line.row.name: (line.runs, line.entries[0].comparison) for line in table.lines}
    verdicts = {name: (runs, found.verdict) for name, (runs, found) in said.items() if found is not None}
    assert verdicts == {
        "erm": ("3", "agrees"),
        "aim": ("2/3", "differs"),
        "x0": ("1/3", "n < 2"),
        "x1": ("3", "other data"),
        "x2": ("0/3", "not run"),
        "diet": ("–", "not run"),
    }
    assert table.lines[0].entries[0].sample is not None
    assert (table.lines[0].entries[0].sample.mean, table.lines[0].entries[0].sample.std) == pytest.approx((95.0, 0.1))


def test_a_metric_that_only_some_runs_have_says_how_many(table: StudyTable) -> None:
    assert "0.500 ± 0.000 (n=2)" in RENDERERS["markdown"](table)
    assert table.lines[1].entries[1].sample is None, "null is no number"


def test_terminal_shows_failures_intervals_sources_and_the_rule(table: StudyTable) -> None:
    text = RENDERERS["terminal"](table)
    assert re.search(r"AIM\[2, 35 %\] +2/3 +81\.00 ± 1\.41 +60\.00 +differs", text)
    assert re.search(r"AIM.*, seed 2: failed \(out of memory\); log: .*log\.txt", text)
    assert "ERM, acc [%]: difference +0.00 [-0.61, +0.61] (95 %, Welch's t, published n = 5), margin 2: agrees" in text
    assert "one-sample t, published taken as exact" in text
    assert "checkpoint: best epoch by val/acc_worst_group" in text
    assert "measured on synthetic_birds correlation0.95: other data" in text
    assert "published: Table_1 & co" in text
    assert "(ddof 1) over n runs" in text


def test_markdown_is_a_table_of_equal_lines(table: StudyTable) -> None:
    lines = [line for line in RENDERERS["markdown"](table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1


def test_latex_escapes_what_has_a_meaning(table: StudyTable) -> None:
    text = RENDERERS["latex"](table)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert r"AIM[2, 35 \%] & 2/3 & 81.00 $\pm$ 1.41 & 60.00 & differs" in text
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body if line.endswith(r"\\")}) == 1
    assert body[0].startswith(r"\begin{tabular}{lrrrrr}")
    assert body[-1] == r"\end{tabular}"


def test_csv_has_full_precision_and_all_that_a_verdict_was_read_off(table: StudyTable) -> None:
    rows = {
        row["row"]: row for row in csv.DictReader(io.StringIO(RENDERERS["csv"](table))) if row["metric"] == "test/acc"
    }
    erm = rows["erm"]
    assert float(erm["mean"]) == pytest.approx(95.0)
    assert (erm["n"], erm["published_mean"], erm["published_std"], erm["published_n"]) == ("3", "95.0", "0.5", "5")
    assert (erm["verdict"], erm["selection"], erm["margin"]) == ("agrees", "acc_worst_group", "2.0")
    assert float(erm["low"]) < 0 < float(erm["high"])
    assert (rows["x2"]["n"], rows["x2"]["mean"], rows["x2"]["verdict"]) == ("0", "", "not run")
    assert rows["aim"]["failed"] == "1"


def test_a_row_may_read_another_key(tmp_path: Path) -> None:
    study = study_of(tmp_path, [{"file": "erm.yaml", "reads": {"test/acc": "test/acc_group_mean"}}], seeds=[0])
    runs = Runs(tmp_path / "runs")
    finish(runs.folder(study.cells[0]), {"test/acc": 0.5, "test/acc_group_mean": 0.75})
    sample = tabulate_study(study, runs, runs.states(study.cells)).lines[0].entries[0].sample
    assert sample is not None
    assert sample.mean == 0.75


def test_stale_runs_do_not_count_and_are_named(tmp_path: Path) -> None:
    study, runs = study_of(tmp_path, ["erm.yaml"]), Runs(tmp_path / "runs")
    finish(runs.folder(study.cells[0]), {"test/acc": 0.5}, version="0.0.1")
    text = RENDERERS["terminal"](tabulate_study(study, runs, runs.states(study.cells)))
    assert re.search(r"erm +0/2 +–", text)
    assert "erm, seed 0: stale (done by maskexp 0.0.1" in text


@pytest.mark.parametrize(
    ("told", "column", "remark"),
    [
        (("none", "none"), False, False),
        (("group labels in validation",) * 2, False, True),
        (("none", "group labels in training"), True, False),
    ],
)
def test_supervision_is_a_column_where_rows_differ_in_it(
    told: tuple[str, str], column: bool, remark: bool, tmp_path: Path
) -> None:
    study = study_of(tmp_path, [{"name": "erm", "file": "erm.yaml"}, {"name": "aim", "file": "aim.yaml"}], seeds=[0])
    runs = Runs(tmp_path / "runs")
    for row, supervision in zip(study.rows, told, strict=True):
        finish(runs.folder(row.cells[0]), {"test/acc": 0.5}, supervision=supervision)
    table = tabulate_study(study, runs, runs.states(study.cells))
    header, *rows = [line.split(" | ") for line in RENDERERS["markdown"](table).splitlines() if line.startswith("|")]
    assert ("supervision" in header) is column
    if column:
        assert [row[2] for row in rows[1:]] == list(told)
    assert ("every row uses group labels in validation" in RENDERERS["terminal"](table)) is remark
    lines = list(csv.DictReader(io.StringIO(RENDERERS["csv"](table))))
    assert {line["row"]: line["supervision"] for line in lines} == dict(zip(("erm", "aim"), told, strict=True))


def test_mixed_selection_rules_are_named(tmp_path: Path) -> None:
    study, runs = study_of(tmp_path, ["erm.yaml"]), Runs(tmp_path / "runs")
    for cell, rule in zip(study.cells, ("last", "acc"), strict=True):
        finish(runs.folder(cell), {"test/acc": 0.5}, evaluations={"test": {"checkpoint": {"rule": rule}}})
    text = RENDERERS["terminal"](tabulate_study(study, runs, runs.states(study.cells)))
    assert "its runs were selected by different rules (acc, last)" in text


@pytest.fixture
def compared(tmp_path: Path) -> StudyTable:
    """AIM against ERM: higher in two of three common seeds, AIM with a fourth; a row on other data, and one not run."""
    rows: list[dict[str, Any]] = [
        {"name": "erm", "file": "erm.yaml", "title": "ERM"},
        {"name": "aim", "file": "aim.yaml", "title": "AIM[2]", "seeds": [0, 1, 2, 3]},
        {"name": "cub", "file": "erm.yaml", "overrides": {"model.lr": 1.0}},
        {"name": "later", "file": "erm.yaml", "overrides": {"model.lr": 2.0}},
    ]
    pairs = [
        {"row": "aim", "against": "erm", "metrics": ["test/acc"]},
        {"row": "cub", "against": "erm", "metrics": ["test/acc"]},
        {"row": "later", "against": "erm"},
    ]
    study = study_of(tmp_path, rows, columns=COLUMNS, seeds=[0, 1, 2], comparisons=pairs)
    runs = Runs(tmp_path / "runs")
    for name, values in {"erm": [0.8, 0.7, 0.6], "aim": [0.9, 0.65, 0.95, 0.9], "cub": [0.5, 0.4, 0.45]}.items():
        data = {"name": "cub", "variant": ""} if name == "cub" else {"name": "synthetic_birds", "variant": ""}
        for cell, value in zip(study.row(name).cells, values, strict=True):
            finish(runs.folder(cell), {"test/acc": value}, data=data)
    return tabulate_study(study, runs, runs.states(study.cells))


def test_rows_are_compared_with_each_other_over_their_seeds(compared: StudyTable) -> None:
    said = [(found.row.name, found.column.metric, found.comparison.verdict) for found in compared.differences]
    assert said == [
        ("aim", "test/acc", "undecided"),
        ("cub", "test/acc", "other data"),
        ("later", "test/acc", "not run"),
        ("later", "test/epg", "not run"),
    ]
    aim = compared.differences[0]
    assert aim.comparison.difference == pytest.approx(85.0 - 70.0)
    assert (aim.alike, aim.common) == (2, 3)


def test_comparisons_of_rows_are_a_second_table_in_every_format(compared: StudyTable) -> None:
    terminal, latex = RENDERERS["terminal"](compared), RENDERERS["latex"](compared)
    assert re.search(r"AIM\[2\] +ERM +acc \[%\] +\+15\.00 +\[-\d+\.\d\d, \+\d+\.\d\d\] +2/3 +undecided", terminal)
    assert "not corrected for how many are compared" in terminal
    assert "| later | ERM | epg | – | – | – | not run |" in RENDERERS["markdown"](compared)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    lines = [line for line in csv.DictReader(io.StringIO(RENDERERS["csv"](compared))) if line["against"]]
    assert [(line["row"], line["against"], line["verdict"]) for line in lines[:2]] == [
        ("aim", "erm", "undecided"),
        ("cub", "erm", "other data"),
    ]
    assert (lines[0]["n"], float(lines[0]["difference"])) == ("4", pytest.approx(15.0))


def test_a_study_without_comparisons_has_one_table(table: StudyTable) -> None:
    assert "against" not in RENDERERS["terminal"](table)
    assert RENDERERS["latex"](table).count(r"\begin{tabular}") == 1


def test_rows_on_other_images_of_one_name_are_not_compared(tmp_path: Path) -> None:
    rows = ["erm.yaml", {"name": "aim", "file": "aim.yaml", "overrides": {"data.test_size": 80}}]
    study = study_of(tmp_path, rows, comparisons=[{"row": "aim", "against": "erm"}])
    runs = Runs(tmp_path / "runs")
    for cell in study.cells:
        finish(runs.folder(cell), {"test/acc": 0.5}, digest=cell.row)
    (found,) = tabulate_study(study, runs, runs.states(study.cells)).differences
    assert (found.comparison.verdict, found.alike, found.common) == ("other data", 0, 2)


def test_a_note_of_two_lines_is_one_remark(tmp_path: Path) -> None:
    study, runs = study_of(tmp_path, notes=["first\nsecond 50 %"]), Runs(tmp_path / "runs")
    table = tabulate_study(study, runs, runs.states(study.cells))
    assert RENDERERS["latex"](table).startswith("% first second 50 %\n")
