"""A study file becomes rows and cells; what it cannot say is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maskexp.cli.errors import CommandError
from maskexp.studies import StudyError, read_study
from tests.studies.stand_in import ERM, compose, study_of, write_study


def test_rows_are_files_patterns_and_mappings(tmp_path: Path) -> None:
    rows = ["erm.yaml", {"file": "a*.yaml"}, {"name": "aim_35", "file": "aim.yaml", "overrides": {"model.tau": 0.35}}]
    study = study_of(tmp_path, rows, overrides={"trainer.max_epochs": 3})
    assert [row.name for row in study.rows] == ["erm", "aim", "aim_35"]
    config = study.row("aim_35").cells[1].config
    assert config["model"] == {"class_path": "maskexp.methods.AIM", "init_args": {"tau": 0.35}}
    assert (config["trainer"], config["seed_everything"]) == ({"max_epochs": 3}, 1)


def test_files_of_a_row_lie_on_each_other(tmp_path: Path) -> None:
    rows = [{"name": "both", "file": ["erm.yaml", "longer.yaml"], "reads": {"test/acc": "test/acc_group_mean"}}]
    files = {"erm.yaml": ERM, "longer.yaml": {"trainer": {"max_epochs": 50}}}
    study = read_study(write_study(tmp_path, {"rows": rows}, files), compose)
    config = study.row("both").cells[0].config
    assert (config["model"], config["trainer"]) == (ERM["model"], {"max_epochs": 50})
    assert study.row("both").reads == {"test/acc": "test/acc_group_mean"}


def test_a_seed_sets_all_its_keys(tmp_path: Path) -> None:
    study = study_of(tmp_path, seed_keys=["seed_everything", "data.seed"])
    config = study.row("erm").cells[1].config
    assert (config["seed_everything"], config["data"]["init_args"]["seed"]) == (1, 1)


def test_rows_from_the_literature_have_no_cells(tmp_path: Path) -> None:
    row = {"name": "diet", "published": {"source": "Table 2", "values": {"test/acc": [73.41, 1.21]}}}
    study = study_of(tmp_path, ["erm.yaml", row], published={"n": 5})
    diet = study.rows[1]
    assert diet.cells == ()
    assert diet.published is not None
    assert (diet.published.n, dict(diet.published.values)) == (5, {"test/acc": (73.41, 1.21)})
    with pytest.raises(StudyError, match="published numbers only"):
        study.row("diet")


PUBLISHED = {"source": "Table 1", "values": {"test/acc": 90.0}}
BOTH = ["erm.yaml", "aim.yaml"]
AIM_ERM = {"row": "aim", "against": "erm"}
SAME = {"name": "again", "file": "erm.yaml", "overrides": {"data.num_workers": 4}}
LITERATURE = {"name": "diet", "published": PUBLISHED}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"rows": [{"file": "erm.yaml", "published": {"values": {"test/acc": 1}}}]}, "without a source"),
        ({"rows": [{"file": "erm.yaml", "published": {"source": " ", "values": {}}}]}, "without a source"),
        ({"rows": [{"file": "er.yaml"}]}, "did you mean 'erm.yaml'"),
        ({"rows": ["b*.yaml"]}, "no file matches b*.yaml"),
        ({"rows": ["erm.yaml", "erm.yaml"]}, "two rows called 'erm'"),
        ({"rows": [{"file": ["erm.yaml", "aim.yaml"]}]}, "needs a name"),
        ({"rows": []}, "has no rows"),
        ({"rows": "erm.yaml"}, "has to be a list"),
        ({"rows": [3]}, "a file or a mapping"),
        ({"rows": ["erm.yaml"], "sed": [1]}, "did you mean 'seeds'"),
        ({"rows": [{"file": "erm.yaml", "overides": {}}]}, "did you mean 'overrides'"),
        ({"rows": [{"title": "x"}]}, "needs a file to run"),
        ({"rows": [{"file": "*.yaml", "published": PUBLISHED}]}, "belong to one row"),
        ({"rows": ["erm.yaml"], "seeds": [1, 1]}, "given twice"),
        ({"rows": ["erm.yaml"], "seeds": [-1]}, "whole numbers"),
        ({"rows": ["erm.yaml"], "seeds": 3}, "whole numbers"),
        ({"rows": ["erm.yaml"], "study": "../x"}, "letters, digits"),
        ({"rows": ["erm.yaml"], "columns": [{"metric": "test/acc", "margin": -1}]}, "positive numbers"),
        ({"rows": ["erm.yaml"], "columns": [{"title": "x"}]}, "a mapping with metric"),
        ({"rows": ["erm.yaml"], "overrides": [1]}, "keys and values"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED}], "columns": ["test/ac"]}, "has no such column"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED | {"n": "5"}}]}, "a number of runs"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED | {"values": {"test/acc": "9 ± 1"}}}]}, "a mean, or"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED | {"values": {"test/acc": [9, -1]}}}]}, "a mean, or"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED | {"data": {"nme": "x"}}}]}, "did you mean 'name'"),
        ({"rows": [{"file": "erm.yaml", "reads": ["test/acc"]}]}, "keys and values"),
        ({"rows": [{"file": "erm.yaml", "published": PUBLISHED | {"data": "waterbirds"}}]}, "keys and values"),
        ({"rows": ["erm.yaml"], "published": "the paper"}, "keys and values"),
        ({"rows": ["erm.yaml"], "published": {"source": "the paper", "N": 10}}, "did you mean 'n'"),
        ({"rows": [LITERATURE | {"overrides": {"model.lr": 1.0}}]}, "has overrides but no file"),
        ({"rows": [LITERATURE | {"seeds": [0, 1]}]}, "has seeds but no file"),
        ({"rows": ["/anywhere/*.yaml"]}, "not relative to the study"),
        ({"rows": BOTH, "comparisons": {"row": "aim"}}, "has to be a list"),
        ({"rows": BOTH, "comparisons": [AIM_ERM | {"metrics": []}]}, "each once"),
        ({"rows": BOTH, "comparisons": [AIM_ERM | {"metrics": ["test/acc", "test/acc"]}]}, "each once"),
        ({"rows": BOTH, "comparisons": [AIM_ERM | {"metrics": [["test/acc"]]}]}, "no column shows"),
        ({"rows": [*BOTH, SAME], "comparisons": [{"row": "again", "against": "erm"}]}, "with itself"),
        ({"rows": BOTH, "comparisons": [{"row": "aim"}]}, "with row and against"),
        ({"rows": BOTH, "comparisons": [{"row": "aim", "against": "er"}]}, "did you mean 'erm'"),
        ({"rows": BOTH, "comparisons": [{"row": "aim", "against": "aim"}]}, "with itself"),
        ({"rows": BOTH, "comparisons": [AIM_ERM | {"metric": ["test/acc"]}]}, "did you mean 'metrics'"),
        ({"rows": BOTH, "comparisons": [AIM_ERM | {"metrics": ["test/ac"]}]}, "did you mean 'test/acc'"),
        ({"rows": [*BOTH, LITERATURE], "comparisons": [{"row": "aim", "against": "diet"}]}, "'diet' that is run"),
    ],
)
def test_what_a_study_cannot_say_is_refused(content: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    file = write_study(tmp_path, content)
    with pytest.raises(StudyError) as refused:
        read_study(file, compose)
    assert complaint in str(refused.value)
    assert "a_study.yaml" in str(refused.value)


def test_a_configuration_is_no_study(tmp_path: Path) -> None:
    write_study(tmp_path, {"rows": []})
    with pytest.raises(StudyError, match="is no study"):
        read_study(tmp_path / "erm.yaml", compose)


def test_devices_that_a_cell_asks_for(tmp_path: Path) -> None:
    rows = [
        "erm.yaml",
        {"name": "two", "file": "erm.yaml", "overrides": {"trainer.devices": 2, "trainer.num_nodes": 3}},
        {"name": "listed", "file": "erm.yaml", "overrides": {"trainer.devices": [0, 1, 2]}},
        {"name": "auto", "file": "erm.yaml", "overrides": {"trainer.devices": "auto"}},
    ]
    study = study_of(tmp_path, rows)
    assert [row.cells[0].devices for row in study.rows] == [(1, 1), (3, 2), (1, 3), (1, 1)]


def test_overrides_mean_what_they_mean_on_the_command_line(tmp_path: Path) -> None:
    overrides = {"data.train_transform.flip": 0.0, "model": {"tau": 0.35}}
    config = study_of(tmp_path, [{"file": "aim.yaml", "overrides": overrides}]).cells[0].config
    assert config["model"]["init_args"] == {"tau": 0.35}
    assert config["data"]["init_args"]["train_transform"] == {"init_args": {"flip": 0.0}}
    with pytest.raises(CommandError, match=r"model is ERM in .* but AIM in overrides of the row"):
        study_of(tmp_path, [{"file": "erm.yaml", "overrides": {"model": "AIM"}}])


def test_a_metric_in_two_columns_is_compared_in_both(tmp_path: Path) -> None:
    columns = ["test/acc", {"metric": "test/acc", "title": "per cent", "scale": 100}]
    for metrics in ({}, {"metrics": ["test/acc"]}):
        study = study_of(tmp_path, BOTH, columns=columns, comparisons=[AIM_ERM | metrics])
        assert [column.title for column in study.pairs[0].columns] == ["acc", "per cent"]
