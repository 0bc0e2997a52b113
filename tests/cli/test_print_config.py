"""``--print_config`` says of each value which file, or which flag, set it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from maskexp.cli.main import main
from maskexp.cli.print_config import with_sources


def test_a_value_is_followed_by_its_source_and_a_default_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("below.yaml").write_text("model: AIM\nmodel.tau: 0.25\nmodel.stages: 1\ndata: SyntheticBirds\n")
    Path("row.yaml").write_text("layers: [below.yaml]\nmodel.stages: 2\ntrainer.max_epochs: 3\n")

    assert main(["fit", "--config", "row.yaml", "--model.lr=0.5", "--print_config"]) == 0

    printed = capsys.readouterr().out
    lines = {line.split(":")[0].strip(): line.strip() for line in printed.splitlines()}
    assert lines["tau"] == "tau: 0.25  # below.yaml"
    assert lines["stages"] == "stages: 2  # row.yaml"
    assert lines["max_epochs"] == "max_epochs: 3  # row.yaml"
    assert lines["lr"] == "lr: 0.5  # the command line"
    assert "#" not in lines["weight_decay"]
    again = yaml.safe_load(printed)
    assert (again["model"]["init_args"]["tau"], again["trainer"]["max_epochs"]) == (0.25, 3)


def test_what_is_printed_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--model=ERM", "--data=SyntheticBirds", "--print_config"]) == 0
    Path("whole.yaml").write_text(capsys.readouterr().out)
    assert main(["fit", "--config", "whole.yaml", "--print_config"]) == 0
    whole = yaml.safe_load(Path("whole.yaml").read_text())
    assert yaml.safe_load(capsys.readouterr().out) == whole


def test_a_text_over_several_lines_gets_no_comment_inside() -> None:
    text = "model:\n  note: 'one\n    two'\n"
    assert with_sources(text, {"model.note": "a.yaml"}, []) == text
