"""The rows of layer masking hide what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from maskexp.cli.main import main

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "layer_masking"
ROWS = sorted(row for row in FOLDER.glob("*.yaml") if not row.stem.endswith("_study"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.stem)
def test_row_hides_what_its_name_says(row: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(row), "--print_config"]) == 0
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    assert model["class_path"].endswith("InputMasked")
    assert model["init_args"]["hiding"] == ("grey" if "grey" in row.stem else "layer")
    assert model["init_args"]["hidden"] == ("foreground" if "foreground" in row.stem else "background")
