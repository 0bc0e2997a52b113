"""The rows of layer masking hide what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from maskexp.cli.main import main

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "layer_masking"


@pytest.mark.parametrize("study", ["waterbirds95_study.yaml", "real95_study.yaml"])
@pytest.mark.parametrize("row", ["layer", "grey", "foreground"])
def test_row_hides_what_its_name_says(study: str, row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(FOLDER / study), "--row", row, "--print_config"]) == 0
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    assert model["class_path"].endswith("InputMasked")
    assert model["init_args"]["hiding"] == ("grey" if row == "grey" else "layer")
    assert model["init_args"]["hidden"] == ("foreground" if row == "foreground" else "background")
